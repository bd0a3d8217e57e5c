/** The canary, as whoever attacks its server sees it. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { CanaryReport } from './canary.ts';

export interface Canary {
  /** Tells it to stop. @throws Error when it has died */
  report(): Promise<CanaryReport>;
  kill(): void;
}

export async function startCanary(url: string): Promise<Canary> {
  const child = fork(fileURLToPath(new URL('./canary.js', import.meta.url)), [url], { detached: true });
  const died = once(child, 'exit').then(([code, signal]: (number | string | null)[]) => {
    throw new Error(`The canary has died (${code ?? signal})`);
  });
  // It matters only to those who wait for something else.
  died.catch(() => {});
  const heard = async (): Promise<unknown> => ((await Promise.race([once(child, 'message'), died])) as unknown[])[0];
  await heard();
  return {
    async report() {
      const report = heard();
      if (child.connected) child.send('stop');
      return (await report) as CanaryReport;
    },
    kill: () => void child.kill('SIGKILL'),
  };
}
