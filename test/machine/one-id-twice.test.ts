import { expect, test } from 'vitest';
import { blockOf, MachineRun } from '../helpers/machine-run.ts';

test('a client that awaits two messages under one id hears of it once, and stops nobody', () => {
  const run = new MachineRun();
  const client = run.client('client');
  const ref = client.declare('mail');
  const id = run.newId();
  for (let i = 0; i < 2; i++) {
    const blocks = [blockOf([id], [{ awaited: true }])];
    expect(client.ask({ kind: 'produce', ref, atomic: false, blocks })).toMatchObject({ kind: 'produced' });
  }
  client.ask({ kind: 'control', channel: 'mail', action: 'purge', settings: undefined });
  run.run();
  expect(run.notices.filter(({ notice }) => notice.kind === 'ended')).toHaveLength(1);
});
