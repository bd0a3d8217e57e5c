import { expect, test } from 'vitest';
import { createRefusalLog } from '#holdfast/host/refusal-log.js';
import { ManualClock } from '../helpers/manual-clock.ts';

const GUESS = 'The access token is not known here';

test('a log of refusals has a line a second, and counts what it leaves out', async () => {
  const clock = new ManualClock();
  const lines: string[] = [];
  const taken = (): string[] => lines.splice(0);
  const log = createRefusalLog(clock, ({ message }) => lines.push(message));
  log.add(GUESS, '10.0.0.1');
  expect(taken()).toEqual([`A client from "10.0.0.1" was refused: ${GUESS}`]);
  for (let i = 0; i < 1_000; i++) log.add(GUESS, '10.0.0.2');
  await clock.advance(999);
  expect(taken()).toEqual([]);
  await clock.advance(1);
  expect(taken()).toEqual([`A client from "10.0.0.2" was refused: ${GUESS}; refused before it, and not logged: 999`]);
  log.add('The access token "a" has expired', '10.0.0.3');
  expect(taken()).toEqual([]);
  await clock.advance(1_000);
  expect(taken()).toEqual(['A client from "10.0.0.3" was refused: The access token "a" has expired']);
  await clock.advance(1_000);
  log.add(GUESS, '10.0.0.4');
  log.add(GUESS, '10.0.0.5');
  log.add(GUESS, '10.0.0.6');
  expect(taken()).toEqual([`A client from "10.0.0.4" was refused: ${GUESS}`]);
  log.close();
  expect(taken()).toEqual([`A client from "10.0.0.6" was refused: ${GUESS}; refused before it, and not logged: 1`]);
  await clock.advance(5_000);
  expect(taken()).toEqual([]);
});
