/* global connection */
import { context, propagation, SpanKind, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { Queue, QueueEvents, Worker } from 'bullmq';
import { BullMQOtel } from 'bullmq-otel';

// A request that adds a job, and the worker that handles it, both traced as the manual of bullmq-otel has it.

const exporter = new InMemorySpanExporter();
const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
trace.setGlobalTracerProvider(provider);
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
propagation.setGlobalPropagator(new W3CTraceContextPropagator());

const telemetry = new BullMQOtel({ tracerName: 'mailer', version: '1.0.0' });
const queue = new Queue('mail', { connection, telemetry });
const events = new QueueEvents('mail', { connection });
await events.waitUntilReady();
const worker = new Worker(
  'mail',
  async (job) => {
    // A span of the handler itself, which belongs to what adds the job.
    return trace.getTracer('mailer').startActiveSpan('write', (span) => {
      span.end();
      if (job.name === 'fail') throw new Error('no such address');
      return 'written';
    });
  },
  { connection, telemetry },
);

await trace.getTracer('web').startActiveSpan('request', async (span) => {
  const sent = await queue.add('send', { to: 'ada' });
  const failing = await queue.add('fail', { to: 'nobody' });
  await sent.waitUntilFinished(events);
  await failing.waitUntilFinished(events).catch(() => {});
  span.end();
});
await worker.close();
await events.close();
await queue.close();
await provider.forceFlush();

for (const span of exporter.getFinishedSpans()) {
  const { traceId, spanId } = span.spanContext();
  console.log(
    JSON.stringify({
      name: span.name,
      kind: SpanKind[span.kind],
      traceId,
      spanId,
      parent: span.parentSpanContext?.spanId,
      attributes: span.attributes,
      events: span.events.map(({ name }) => name),
    }),
  );
}
await provider.shutdown();
