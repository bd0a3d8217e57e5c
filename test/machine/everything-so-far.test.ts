import { expect, test } from 'vitest';
import { KIND, Layout } from '#holdfast/machine/layout.js';
import { compareKeys } from '#holdfast/model/records.js';
import { MachineRun } from '../helpers/machine-run.ts';

test('all that is there has the ids of clients whose clocks are ahead, also after a restart', () => {
  const run = new MachineRun();
  const client = run.client('client');
  const ref = client.declare('mail');
  // Ids go by the clock of whoever makes them.
  run.wall += 3_600_000;
  client.produce(ref);
  const [id] = [...run.disk.entries.items(new Layout('test').range(KIND.ids))];
  const isThere = (): boolean =>
    run.machine.everythingSoFar.some(
      ({ from, to }) => compareKeys(from, id?.key as Uint8Array) <= 0 && compareKeys(id?.key as Uint8Array, to) < 0,
    );
  expect(isThere()).toBe(true);
  run.wall -= 3_600_000;
  run.reload();
  expect(isThere()).toBe(true);
});
