/** When the demo kills, and whom. */

export type Victim = 'broker' | 'worker';
export type Phase = 'producing' | 'handling';

/** A kill comes when so many steps of a phase were taken, before the next one is. */
export interface Kill {
  readonly victim: Victim;
  readonly phase: Phase;
  readonly afterSteps: number;
}

const WHILE_PRODUCING: readonly Victim[] = ['broker'];
const WHILE_HANDLING: readonly Victim[] = ['broker', 'broker', 'worker', 'worker', 'worker', 'worker'];

/** Kills at random moments in the first nine tenths of the work on so many files, in a random order. */
export function randomKills(files: number): Kill[] {
  if (files === 0) return [];
  const at = (phase: Phase, victims: readonly Victim[]): Kill[] => {
    const moments = victims.map(() => Math.floor(Math.random() * 0.9 * files)).sort((a, b) => a - b);
    return shuffled(victims).map((victim, i) => ({ victim, phase, afterSteps: moments[i] as number }));
  };
  return [...at('producing', WHILE_PRODUCING), ...at('handling', WHILE_HANDLING)];
}

export function randomOf<T>(items: readonly T[]): T | undefined {
  return items[Math.floor(Math.random() * items.length)];
}

function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, place: Math.random() }))
    .sort((a, b) => a.place - b.place)
    .map(({ item }) => item);
}
