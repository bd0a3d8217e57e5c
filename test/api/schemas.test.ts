import { type as arktype } from 'arktype';
import * as v from 'valibot';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { InvalidMessageError } from 'holdfast';
import { startInMemory } from '../helpers/instances.ts';
import { settled } from '../helpers/manual-clock.ts';

const schemas = {
  zod: z.object({ to: z.email(), size: z.number() }),
  valibot: v.object({ to: v.pipe(v.string(), v.email()), size: v.number() }),
  arktype: arktype({ to: 'string.email', size: 'number' }),
};

describe.each(Object.entries(schemas))('schema of %s', (_name, schema) => {
  test('lets through what matches, and refuses what does not, with the issues', async () => {
    const { hf } = await startInMemory();
    const channel = hf.channel('mail', { schema });
    await channel.produce({ to: 'ann@example.org', size: 5 });
    const error = await channel.produce({ to: 'nobody', size: 5 }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(InvalidMessageError);
    expect(error).toMatchObject({ code: 'INVALID_MESSAGE', message: expect.stringContaining('"mail": to: ') });
    expect((error as InvalidMessageError).issues).toHaveLength(1);
    await expect(
      channel.produceAll([
        { to: 'ann@example.org', size: 1 },
        { to: 'x', size: 1 },
      ]),
    ).rejects.toThrow(InvalidMessageError);
    expect(await channel.inspect()).toMatchObject({ ready: 1, totals: { produced: 1 } });
  });

  test('makes a stored message that does not match dead at once, with the reason', async () => {
    const { hf, clock } = await startInMemory();
    const { id } = await hf.channel<unknown>('mail').produce({ to: 5 });
    let runs = 0;
    await hf.channel('mail', { schema }).consume(() => void runs++);
    await clock.advance(3_600_000);
    const message = await hf.channel<unknown>('mail').get(id);
    expect(message).toMatchObject({ state: 'dead', attempts: 1, failure: { name: 'InvalidMessageError' } });
    expect(message?.failure?.message).toContain('Cannot accept a message for "mail"');
    expect(runs).toBe(0);
  });
});

describe('schemas that transform', () => {
  const schema = z.object({ at: z.iso.datetime().transform((text) => new Date(text)), size: z.number().default(7) });

  test('give the handler their output, and the message travels as it was given', async () => {
    const { hf } = await startInMemory();
    const channel = hf.channel('events', { schema });
    const { id } = await channel.produce({ at: '2030-01-02T03:04:05Z' });
    const seen: unknown[] = [];
    await channel.consume((event) => void seen.push(event.at.getTime(), event.size));
    await settled();
    expect(seen).toEqual([Date.UTC(2030, 0, 2, 3, 4, 5), 7]);
    expect((await hf.channel<unknown>('events').get(id))?.message).toEqual({ at: '2030-01-02T03:04:05Z' });
  });

  test('may check asynchronously, in tx.produce too', async () => {
    const { hf } = await startInMemory();
    const even = z.number().refine(async (number) => number % 2 === 0);
    const channel = hf.channel('even', { schema: even });
    await channel.produce(2);
    await expect(channel.produce(3)).rejects.toThrow(InvalidMessageError);
    const source = hf.channel<number>('source', { attempts: 1 });
    await source.consume((number, { tx }) => tx.produce(channel, number));
    const [good, bad] = await source.produceAll([4, 5]);
    await settled();
    expect(await source.get(good?.id ?? '')).toMatchObject({ state: 'completed' });
    expect(await source.get(bad?.id ?? '')).toMatchObject({ state: 'dead', failure: { name: 'InvalidMessageError' } });
    expect((await channel.list('ready')).map(({ message }) => message)).toEqual([2, 4]);
  });
});
