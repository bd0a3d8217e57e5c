import { expect, test } from 'vitest';
import { talking } from '../network/processes.ts';
import { CASES, compiled } from './programs.ts';

const cases = compiled(CASES);

test('HoldfastModule takes what it can use, and says what it cannot', async () => {
  expect(cases.complaints).toEqual([]);
  const program = talking([cases.pathOf('program.js')], {});
  await program.ended;
  const came = Object.fromEntries(program.said.map(({ name, came }) => [name, came]));
  const up = { status: 'up', durability: 'memory', consumers: 1 };
  expect(came).toEqual({
    'a processor in memory': 25,
    'a channel of a test': [7],
    'a schema': 'InvalidMessageError',
    useClass: 9,
    useExisting: 16,
    'an instance, which stays open': { result: 36, ready: 1, consumers: 0 },
    'two connections': { results: [4, 8], health: [{ holdfast: up }, { other: up }], isSame: true, isOther: true },
    'a consumer that may not go on': ['up', 'down'],
    'a durable processor, which messages share': { results: [1, 2, 1], ended: [] },
    'a method of no processor': { error: 'Cannot process in "Homeless.handle": the class needs @Processor(channel)' },
    'an unknown connection': {
      error: `Cannot use connection "other" in "Cubes": import HoldfastModule.forRoot({ connection: 'other' })`,
    },
    'no channel': {
      error: `Cannot find channel "numbers" of connection "default": import HoldfastModule.registerChannel({ name: 'numbers' })`,
    },
    'no method': { error: 'Cannot process "numbers": no method of "Nothing" has @Process()' },
    'two methods': { error: 'Cannot process "numbers": "Twice" has @Process() at "first" and at "second"' },
    'a listener to nothing': {
      error: 'Cannot listen in "Nowhere.hear": give @OnChannelEvent a channel, or make it a processor',
    },
    'a listener of a moment': {
      error: 'Cannot listen in "Fleeting.hear": an instance of it is there only for a message',
    },
    'a wrong option of a processor': { error: expect.stringContaining('Cannot use 0 as "concurrency"') },
    'a wrong option of the module': { error: expect.stringContaining('Cannot use "uri" as an option of "open"') },
    'a wrong option of a channel': { error: expect.stringContaining('Cannot use "retries" as an option of "channel"') },
    'an instance and a URL': {
      error: 'Cannot use "url" and "instance" together: the instance is open already',
    },
    'two ways to make options': { error: expect.stringContaining('give one of useFactory, useClass and useExisting') },
    'no way to make options': { error: expect.stringContaining('give one of useFactory, useClass and useExisting') },
  });
});
