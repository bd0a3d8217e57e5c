import { describe, expect, expectTypeOf, test } from 'vitest';
import { type FlowNode, type Holdfast, open, restore } from 'holdfast';
import { join } from 'node:path';
import { writeFile } from 'node:fs/promises';
import { newFolder, openUntilEnd } from '../helpers/instances.ts';

async function start(): Promise<{ hf: Holdfast; node: (options?: object) => FlowNode }> {
  const hf = await openUntilEnd('memory:');
  const channel = hf.channel<string>('steps');
  return { hf, node: (options) => channel.node('step', options) };
}

/** Everything that was produced. */
async function produced(hf: Holdfast): Promise<number> {
  return (await hf.admin.inspect('steps'))?.totals.produced ?? 0;
}

describe('flow()', () => {
  const bad: readonly [what: string, make: (node: (options?: object) => FlowNode) => unknown, says: RegExp][] = [
    ['nothing', () => undefined, /give what node\(\) of a channel returns/],
    ['an empty list', () => [], /give what node\(\) of a channel returns/],
    ['what looks like a node', () => ({ channel: 'steps', children: [] }), /give what node\(\)/],
    ['a key twice', (node) => node({ key: 'a', children: [node({ key: 'a' })] }), /Cannot use key "a" twice in a flow/],
    [
      'a message twice',
      (node) => {
        const shared = node();
        return node({ children: [shared, node({ children: [shared] })] });
      },
      /A message of "steps" is in the flow twice: give it a key, and name its other parents in "parents"/,
    ],
    [
      'an unknown parent',
      (node) => node({ key: 'top', children: [node({ parents: ['tpo'] })] }),
      /Cannot use "tpo" as a parent: known are top/,
    ],
    ['an unknown parent where none has a key', (node) => node({ parents: ['x'] }), /no message of the flow has a key/],
    [
      'a parent twice',
      (node) => node({ key: 'top', children: [node({ parents: ['top'] })] }),
      /Cannot use "top" as a parent twice/,
    ],
    [
      'messages that wait for each other',
      (node) => [
        node({ key: 'before', parents: ['c'] }),
        node({ key: 'a', parents: ['b'] }),
        node({ key: 'b', parents: ['a'], children: [node({ key: 'c' })] }),
      ],
      /wait for each other: "(a", "b|b", "a)"$/,
    ],
    ['itself as a parent', (node) => node({ key: 'a', parents: ['a'] }), /wait for each other: "a"$/],
    [
      'more than 10,000 messages',
      (node) => node({ children: Array.from({ length: 10_000 }, () => node()) }),
      /Cannot add more than 10000 messages in one flow/,
    ],
    [
      'more than 20,000 edges',
      (node) => {
        const parents = Array.from({ length: 150 }, (_, i) => node({ key: `p${i}` }));
        const keys = parents.map(({ key }) => key);
        return [...parents, ...Array.from({ length: 150 }, () => node({ parents: keys }))];
      },
      /Cannot add a flow with more than 20000 edges: it has 22500/,
    ],
    ['an option of the message that is wrong', (node) => node({ children: [node({ priority: 0.5 })] }), /"priority"/],
  ];

  test.each(bad)('refuses %s, and stores nothing', async (_what, make, says) => {
    const { hf, node } = await start();
    await expect(hf.flow(make(node) as FlowNode)).rejects.toThrow(says);
    expect(await produced(hf)).toBe(0);
  });

  test('refuses an unknown option by name, and a parent that is no id', async () => {
    const { hf, node } = await start();
    await expect(hf.flow(node(), { parnt: 'x' } as object)).rejects.toThrow(
      'Cannot use "parnt" as an option of "flow": known are parent',
    );
    await expect(hf.flow(node(), { parent: 'x' })).rejects.toThrow(TypeError);
    await expect(hf.admin.flow('x')).rejects.toThrow(TypeError);
    const nobody = '01900000-0000-7000-8000-000000000000';
    await expect(hf.admin.flow(nobody, { depth: 21 })).rejects.toThrow('it must be a whole number from 0 to 20');
    expect(await hf.admin.flow(nobody)).toBeUndefined();
  });

  test('takes a chain of 10,000 messages, and fails it from its end', async () => {
    const { hf, node } = await start();
    const steps = hf.channel<string>('steps');
    let top = node({ attempts: 1 });
    for (let i = 1; i < 10_000; i++) top = node({ children: [top] });
    const { id } = await hf.flow(top);
    await steps.consume(() => {
      throw new Error('At the bottom');
    });
    await expect(steps.result(id)).rejects.toMatchObject({ code: 'DEAD' });
    expect(await steps.inspect()).toMatchObject({ dead: 10_000, waiting: 0 });
  });
});

describe('node()', () => {
  test('refuses options that cannot be used', async () => {
    const { node } = await start();
    expect(() => node({ onFailure: 'retry' })).toThrow(
      'Cannot use "retry" as "onFailure": it must be one of fail, continue, ignore, drop',
    );
    expect(() => node({ parents: [{ key: 'a', onFailure: 'no' }] })).toThrow('it must be one of fail');
    expect(() => node({ key: '' })).toThrow('it must have from 1 to 100 characters');
    expect(() => node({ key: 5 })).toThrow(TypeError);
    expect(() => node({ children: [{}] })).toThrow('Cannot use "children"');
    expect(() => node({ parents: 'a' })).toThrow('Cannot use "parents"');
  });
});

describe('a flow', () => {
  test('comes through a backup and a restart of its folder', async () => {
    const folder = newFolder();
    const hf = await open(`file:${folder}`);
    const parents = hf.channel<string>('parents');
    const children = hf.channel<number, number>('children');
    const { id } = await hf.flow(parents.node('sum', { children: [children.node(1), children.node(2)] }));
    const consumer = await children.consume((n, { tx }) => {
      if (n === 2) return new Promise<number>(() => {});
      tx.set(['done'], n);
      return n;
    });
    for await (const [entry] of hf.kv.watch([['done']])) if (entry?.value === 1) break;
    await consumer.close();
    const file = join(folder, 'backup');
    const parts: Uint8Array[] = [];
    for await (const part of hf.backup()) parts.push(part);
    await writeFile(file, Buffer.concat(parts));
    await hf.close();
    await restore(file, join(folder, 'restored'));
    for (const place of [folder, join(folder, 'restored')]) {
      const again = await openUntilEnd(`file:${place}`);
      expect(await again.admin.flow(id)).toMatchObject({ state: 'waiting', pending: 1, size: 2 });
      const same = again.channel<number, number>('children');
      await same.consume((n) => n);
      const tops = again.channel<string, number>('parents');
      await tops.consume(async (_message, context) => {
        let sum = 0;
        for await (const { result } of context.children(same)) sum += result ?? 0;
        return sum;
      });
      expect(await tops.result(id)).toBe(3);
    }
  });

  test('gives results of the type of their channel', async () => {
    const { hf } = await start();
    const numbers = hf.channel<string, number>('numbers');
    const sums = hf.channel<string, number>('sums');
    // @ts-expect-error The message is not one of this channel.
    numbers.node(5);
    await sums.consume(async (_message, { children }) => {
      for await (const child of children()) expectTypeOf(child.result).toEqualTypeOf<unknown>();
      let sum = 0;
      for await (const child of children(numbers)) {
        expectTypeOf(child.result).toEqualTypeOf<number | undefined>();
        sum += child.result ?? 0;
      }
      return sum;
    });
    await numbers.consume((text) => text.length);
    const { id } = await hf.flow(sums.node('of', { children: [numbers.node('abc'), numbers.node('de')] }));
    expect(await sums.result(id)).toBe(5);
  });
});
