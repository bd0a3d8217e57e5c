/** Flows: messages that wait for others. */
import assert from 'node:assert/strict';
import type { FlowNode } from '../api/flow-nodes.ts';
import { deadLetter, waitForChildren } from '../api/outcomes.ts';
import { type ApiCase, assertLike, Gate, hasCode, until } from './api-conformance-tools.ts';

export const flowCases: readonly ApiCase[] = [
  [
    'flow() lets a message wait for its children, and gives it their results in their order',
    async ({ hf, open, channel, nameOf }) => {
      const sums = channel<string, number>('sums');
      const parts = channel<number, number>('parts');
      const texts = channel<string, string>('texts');
      const receipt = await hf.flow(
        sums.node('sum', {
          children: [parts.node(1), texts.node('two', { key: 'text' }), parts.node(3, { delay: 20 })],
        }),
      );
      assertLike(receipt, { channel: nameOf('sums'), deduplicated: false, durability: hf.durability });
      assert.deepEqual(
        receipt.children.map(({ channel: name, key }) => [name, key]),
        [
          [nameOf('parts'), undefined],
          [nameOf('texts'), 'text'],
          [nameOf('parts'), undefined],
        ],
      );
      assertLike(await sums.inspect(), { waiting: 1, ready: 0 });
      // Whoever works on them need not be the same.
      const other = await open();
      await other.channel<number, number>(nameOf('parts')).consume((n) => n * 10);
      await texts.consume((text) => text.toUpperCase());
      const seen: unknown[] = [];
      await sums.consume(async (_message, { children, attempt }) => {
        let sum = 0;
        for await (const child of children()) seen.push([child.id, child.key, child.state, child.result]);
        for await (const { result } of children(parts)) sum += result ?? 0;
        return sum * attempt;
      });
      assert.equal(await sums.result(receipt.id), 40);
      const [first, second, third] = receipt.children.map(({ id }) => id);
      assert.deepEqual(seen.slice(-3), [
        [first, undefined, 'completed', 10],
        [second, 'text', 'completed', 'TWO'],
        [third, undefined, 'completed', 30],
      ]);
    },
  ],
  [
    'flow() of a graph runs a message with several parents once',
    async ({ hf, channel, runsOnce }) => {
      const steps = channel<string, string>('graph');
      const runs: string[] = [];
      await steps.consume(async (step, { children }) => {
        runs.push(step);
        const below: string[] = [];
        for await (const { result } of children(steps)) below.push(result ?? '');
        return `${step}(${below.join()})`;
      });
      const tops = await hf.flow([
        steps.node('a', { key: 'a', children: [steps.node('c', { parents: ['b'] })] }),
        steps.node('b', { key: 'b' }),
      ]);
      const results = await Promise.all(tops.map(({ id }) => steps.result(id)));
      assert.deepEqual(results, ['a(c())', 'b(c())']);
      if (runsOnce) assert.deepEqual(runs.toSorted(), ['a', 'b', 'c']);
    },
  ],
  [
    'flow() shows many children page by page',
    async ({ hf, channel }) => {
      const many = channel<number, number>('many');
      const one = channel<string, number>('one');
      await many.consume((n) => n, { concurrency: 50 });
      await one.consume(async (_message, { children }) => {
        const found: number[] = [];
        for await (const { result } of children(many)) found.push(result ?? -1);
        return found.every((n, i) => n === i) ? found.length : -1;
      });
      const nodes = Array.from({ length: 250 }, (_, n) => many.node(n));
      const { id } = await hf.flow(one.node('all', { children: nodes }));
      assert.equal(await one.result(id), 250);
    },
  ],
  [
    'flow() stores nothing when a channel has no room',
    async ({ hf, channel }) => {
      const parents = channel<string>('roomy');
      const narrow = channel<string>('narrow', { maxBacklog: 1, onFull: 'wait' });
      const children = [narrow.node('a'), narrow.node('b')];
      await assert.rejects(hf.flow(parents.node('top', { children })), hasCode('BACKLOG_FULL'));
      assertLike(await parents.inspect(), { waiting: 0, totals: { produced: 0 } });
      assertLike(await narrow.inspect(), { ready: 0 });
    },
  ],
  [
    'flow() fails a parent whose child is dead, and what waits for that',
    async ({ hf, channel }) => {
      const parents = channel<string>('failing');
      const children = channel<string>('deadly', { attempts: 1 });
      await children.consume(() => deadLetter('never'));
      const receipt = await hf.flow(
        parents.node('top', { children: [parents.node('middle', { children: [children.node('low')] })] }),
      );
      await assert.rejects(parents.result(receipt.id), hasCode('DEAD'));
      const middle = await parents.get(receipt.children[0]?.id ?? '');
      assertLike(middle, { state: 'dead', failure: { name: 'ChildFailed' } });
      assert.match(middle?.failure?.message ?? '', /is dead: never$/);
    },
  ],
  [
    'flow() lets a parent go on as the policy of its child says',
    async ({ hf, channel, nameOf }) => {
      const parents = channel<string, string[]>('going/on');
      const children = channel<string, string>('mixed', { attempts: 1 });
      await children.consume((message) => {
        if (message.startsWith('bad')) throw new Error(`It is ${message}`);
        return message;
      });
      await parents.consume(async (_message, context) => {
        const seen: string[] = [];
        for await (const { state, result, failure } of context.children(children)) {
          seen.push(`${state} ${result ?? failure?.message}`);
        }
        return seen;
      });
      const nodes = [
        children.node('good'),
        children.node('bad 1', { onFailure: 'ignore' }),
        children.node('bad 2', { onFailure: 'drop' }),
      ];
      const { id } = await hf.flow(parents.node('top', { children: nodes }));
      assert.deepEqual(await parents.result(id), ['completed good', 'dead It is bad 1']);
      const never = channel<string>('never');
      const { id: early } = await hf.flow(
        parents.node('top', { children: [never.node('waits'), children.node('bad 3', { onFailure: 'continue' })] }),
      );
      assert.deepEqual(await parents.result(early), ['dead It is bad 3']);
      assertLike(await hf.admin.inspect(nameOf('never')), { ready: 1 });
    },
  ],
  [
    'waitForChildren() waits for what the handler has added, with what its transaction has gathered, at no attempt',
    async ({ hf, channel, nameOf }) => {
      const parents = channel<string, string>('adding');
      const children = channel<number, number>('added');
      await children.consume((n) => n + 1);
      await parents.consume(async (_message, { children: below, addChild, tx, attempt }) => {
        const results: unknown[] = [];
        for await (const { result } of below()) results.push(result);
        const runs = await tx.get<number>([nameOf('runs')]);
        tx.set([nameOf('runs')], (runs.value ?? 0) + 1);
        if (results.length === 2) return `${results.join()} at ${attempt}`;
        addChild(children.node(results.length, { key: `child ${results.length}` }));
        return waitForChildren();
      });
      assert.equal(await parents.request('work'), '1,2 at 1');
      assert.equal((await hf.kv.get([nameOf('runs')])).value, 3);
    },
  ],
  [
    'a handler that has added children and returns something else fails',
    async ({ channel }) => {
      const parents = channel<string>('forgetting', { attempts: 1 });
      const children = channel<string>('forgotten');
      await parents.consume((_message, { addChild }) => addChild(children.node('lost')));
      const { id } = await parents.produce('work');
      await until(async () => (await parents.get(id))?.state === 'dead', 'the failure');
      assert.match((await parents.get(id))?.failure?.message ?? '', /return waitForChildren\(\)/);
      assertLike(await children.inspect(), { ready: 0, totals: { produced: 0 } });
    },
  ],
  [
    'flow() adds children to a message that has not ended',
    async ({ hf, channel }) => {
      const parents = channel<string, number>('growing');
      const children = channel<number, number>('grown');
      const { id } = await parents.produce('work');
      await hf.flow([children.node(1), children.node(2)], { parent: id });
      assertLike(await parents.get(id), { state: 'waiting' });
      await children.consume((n) => n);
      await parents.consume(async (_message, context) => {
        let sum = 0;
        for await (const { result } of context.children(children)) sum += result ?? 0;
        return sum;
      });
      assert.equal(await parents.result(id), 3);
      await assert.rejects(hf.flow(children.node(3), { parent: id }), hasCode('NOT_FOUND'));
    },
  ],
  [
    'flow() shows what waits for what, with states',
    async ({ hf, channel, nameOf }) => {
      const parents = channel<string>('shown');
      const children = channel<string>('shown/children');
      const gate = new Gate();
      await children.consume((message) => gate.enter(message));
      const { id, children: below } = await hf.flow(
        parents.node('top', {
          children: [parents.node('middle', { key: 'middle', children: [children.node('low')] }), children.node('b')],
        }),
      );
      await until(() => gate.started.length === 1, 'a handler');
      const shown = await parents.flow(id);
      assertLike(shown, { id, channel: nameOf('shown'), state: 'waiting', size: 2, pending: 2 });
      assert.deepEqual(
        shown?.children.map(({ id: of, key, size }) => [of, key, size]),
        [
          [below[0]?.id, 'middle', 1],
          [below[1]?.id, undefined, 0],
        ],
      );
      assert.deepEqual((await hf.admin.flow(id, { depth: 1 }))?.children[0]?.children, []);
      assert.equal((await hf.admin.flow(id, { limit: 1 }))?.children.length, 0);
      assert.equal((await hf.admin.flow(id, { offset: 1 }))?.children[0]?.id, below[1]?.id);
      gate.open();
    },
  ],
  [
    'cancel() leaves children, or cancels those that nobody else waits for',
    async ({ hf, channel }) => {
      const parents = channel<string>('cancelled/parents');
      const children = channel<string>('cancelled/children');
      const add = (): Promise<{ id: string }> => hf.flow(parents.node('top', { children: [children.node('low')] }));
      await parents.cancel((await add()).id);
      assertLike(await children.inspect(), { ready: 1, cancelled: 0 });
      await hf.admin.cancel((await add()).id, { children: 'cancel' });
      await until(async () => (await children.inspect()).cancelled === 1, 'the child to be cancelled');
      assertLike(await children.inspect(), { ready: 1 });
      await assert.rejects(parents.cancel('x', { children: 'all' as 'leave' }), /one of leave, cancel/);
    },
  ],
  [
    'flow() waits for the message that stands for a duplicate, and refuses one that has children',
    async ({ hf, channel }) => {
      const parents = channel<string, number[]>('once/parents', { process: 'exactlyOnce' });
      const children = channel<number, number>('once/children', { process: 'exactlyOnce' });
      const { id: standing } = await children.produce(1);
      const flow = (): FlowNode => parents.node('top', { children: [children.node(1), children.node(2)] });
      const receipt = await hf.flow(flow());
      assertLike(receipt.children[0], { id: standing, deduplicated: true });
      await assert.rejects(hf.flow(flow()), hasCode('DUPLICATE'));
      await children.consume((n) => n);
      await parents.consume(async (_message, context) => {
        const results: number[] = [];
        for await (const { result } of context.children(children)) results.push(result ?? -1);
        return results;
      });
      assert.deepEqual(await parents.result(receipt.id), [1, 2]);
    },
  ],
];
