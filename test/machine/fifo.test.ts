import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Fifo } from '#holdfast/machine/fifo.js';

test('a Fifo is a list that grows at its end and shrinks at its beginning', () => {
  const step = fc.oneof(fc.record({ push: fc.nat(20) }), fc.record({ remove: fc.nat(25) }));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.nat(), (steps, wanted) => {
      const fifo = new Fifo<number>();
      let list: number[] = [];
      let next = 0;
      for (const taken of steps) {
        if ('remove' in taken) {
          fifo.removeFirst(taken.remove);
          list = list.slice(taken.remove);
        } else {
          for (let i = 0; i < taken.push; i++) {
            fifo.push(next);
            list.push(next++);
          }
        }
        expect([...fifo]).toEqual(list);
        expect(fifo.length).toBe(list.length);
        const index = list.findIndex((item) => item >= wanted);
        expect(fifo.firstWhere((item) => item >= wanted)).toBe(index < 0 ? list.length : index);
      }
    }),
  );
});
