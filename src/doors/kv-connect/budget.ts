/** A budget: memory that requests may take together. Who finds none left waits for those before. */

export interface Budget {
  /** Resolves when there is so much, with what gives it back; safe to call twice. */
  take(bytes: number): Promise<() => void>;
}

export function createBudget(totalBytes: number): Budget {
  let left = totalBytes;
  const waiting: { readonly bytes: number; readonly go: () => void }[] = [];
  const admit = (): void => {
    for (let first = waiting[0]; first !== undefined && first.bytes <= left; first = waiting[0]) {
      waiting.shift();
      left -= first.bytes;
      first.go();
    }
  };
  return {
    async take(wanted) {
      const bytes = Math.min(wanted, totalBytes);
      await new Promise<void>((go) => {
        waiting.push({ bytes, go });
        admit();
      });
      let isTaken = true;
      return () => {
        if (!isTaken) return;
        isTaken = false;
        left += bytes;
        admit();
      };
    },
  };
}
