import { expect, test } from 'vitest';
import { talking } from '../network/processes.ts';
import { programApp, startPlace } from './place.ts';

interface Span {
  readonly name: string;
  readonly kind: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parent?: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly events: readonly string[];
}

test('bullmq-otel traces a job from where it is added to where it is handled', async () => {
  const place = await startPlace();
  const program = talking([programApp('otel.mjs').pathOf('otel.mjs')], place.env);
  expect(await program.ended).toEqual({ code: 0, signal: null, errors: '' });
  const spans = program.said as unknown as Span[];
  const named = (name: string, of?: string): Span =>
    spans.find((span) => span.name === name && (of === undefined || span.parent === of)) as Span;

  const request = named('request');
  for (const job of ['send', 'fail']) {
    const added = named(`add mail.${job}`);
    expect(added).toMatchObject({ kind: 'PRODUCER', traceId: request.traceId, parent: request.spanId });
    expect(added.attributes).toMatchObject({ 'bullmq.queue.name': 'mail', 'bullmq.job.name': job });
    const processed = named('process mail', added.spanId);
    expect(processed).toMatchObject({ kind: 'CONSUMER', traceId: request.traceId });
    expect(processed.attributes).toMatchObject({ 'bullmq.job.id': added.attributes['bullmq.job.id'] });
    expect(named('write', processed.spanId)).toMatchObject({ traceId: request.traceId });
    expect(processed.events).toEqual(job === 'fail' ? ['job failed'] : ['job completed']);
  }
});
