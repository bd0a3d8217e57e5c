import { describe, expect, test } from 'vitest';
import { openUntilEnd, timelessSetups } from '../helpers/instances.ts';

describe.each(timelessSetups)('wanted() ($name)', ({ start }) => {
  test('resolves when a message comes that nobody takes, and at once when one waits', async () => {
    const { hf } = await start();
    const channel = hf.channel<string>('mail');
    const wanted = channel.wanted();
    await channel.produce('first');
    await wanted;
    await channel.wanted();
  });

  test('does not resolve for what a consumer has room for', async () => {
    const { hf } = await start();
    const channel = hf.channel<string>('mail');
    const done: string[] = [];
    await channel.consume((message) => void done.push(message));
    const stop = new AbortController();
    const wanted = channel.wanted({ signal: stop.signal });
    await channel.request('first');
    stop.abort(new Error('nobody called'));
    await expect(wanted).rejects.toThrow('nobody called');
    expect(done).toEqual(['first']);
  });

  test('rejects with CLOSED when the instance is closed', async () => {
    const { hf } = await start();
    const wanted = hf.channel<string>('mail').wanted();
    const refused = expect(wanted).rejects.toMatchObject({ code: 'CLOSED' });
    await hf.close();
    await refused;
  });

  test('hears what another instance produces', async () => {
    const { hf, url } = await start();
    if (url === 'memory:') return;
    const wanted = hf.channel<string>('mail').wanted();
    const other = await openUntilEnd(url);
    await other.channel<string>('mail').produce('from elsewhere');
    await wanted;
  });
});
