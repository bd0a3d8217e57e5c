import { expect, test } from 'vitest';
import { currentDatesIn, readSources } from './sources.ts';

// The lint rules refuse every other way to the time, to timers and to randomness, but they cannot tell `new Date()` from
// `new Date(at)`.
const mayReadTheTime = 'model/clock.ts';

test('no source but the clock makes a Date of the current time', () => {
  const sources = new Map([...readSources()].filter(([path]) => path !== mayReadTheTime));
  expect(currentDatesIn(sources)).toEqual([]);
});

test('a planted Date of the current time is found', () => {
  const text = `const a = new Date(0);\nconst b = new Date();\n// new Date()\nconst c = Date();\nconst d = new Date;`;
  expect(currentDatesIn(new Map([['model/a.ts', text]]))).toEqual([
    { path: 'model/a.ts', line: 2 },
    { path: 'model/a.ts', line: 4 },
    { path: 'model/a.ts', line: 5 },
  ]);
});
