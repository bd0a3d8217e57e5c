import { expect, onTestFinished, test } from 'vitest';
import { newApp } from '../helpers/app.ts';
import { STRICT } from '../helpers/compile.ts';
import { talking } from '../network/processes.ts';
import { IS_ON_REDIS, startPlace } from './place.ts';

// @nestjs/bullmq as it is: a module with a queue, a processor with its events, a listener to those of the queue, a service that
// gets the queue injected, and the hooks of an end.

const APPLICATION = `
import 'reflect-metadata';
${IS_ON_REDIS ? '' : `import 'holdfast/bullmq/register';`}
import { BullModule, InjectQueue, OnQueueEvent, OnWorkerEvent, Processor, QueueEventsHost, QueueEventsListener, WorkerHost } from '@nestjs/bullmq';
import { Inject, Injectable, Module, type OnApplicationBootstrap } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { Job, Queue } from 'bullmq';

const say = (line: object): void => console.log(JSON.stringify(line));

@Injectable()
class Transcoder {
  transcode(file: string): string {
    if (file === 'broken') throw new Error('no such codec');
    return file.replace('.wav', '.mp3');
  }
}

@Processor('audio', { concurrency: 2 })
class AudioProcessor extends WorkerHost {
  constructor(@Inject(Transcoder) private readonly transcoder: Transcoder) {
    super();
  }

  async process(job: Job<{ file: string }>): Promise<string> {
    await job.updateProgress(50);
    return this.transcoder.transcode(job.data.file);
  }

  @OnWorkerEvent('active')
  onActive(job: Job): void {
    say({ active: job.name });
  }

  @OnWorkerEvent('completed')
  onCompleted(job: Job): void {
    say({ completed: job.returnvalue });
  }

  @OnWorkerEvent('failed')
  onFailed(job: Job, error: Error): void {
    say({ failed: job.name, reason: error.message });
  }
}

@QueueEventsListener('audio')
class AudioEvents extends QueueEventsHost {
  @OnQueueEvent('completed')
  onCompleted({ jobId, returnvalue }: { jobId: string; returnvalue: unknown }): void {
    say({ heardCompleted: jobId, returnvalue });
  }

  @OnQueueEvent('progress')
  onProgress({ data }: { data: unknown }): void {
    say({ heardProgress: data });
  }
}

@Injectable()
class AudioService implements OnApplicationBootstrap {
  constructor(@InjectQueue('audio') private readonly audio: Queue, @Inject(AudioEvents) private readonly events: AudioEvents) {}

  async onApplicationBootstrap(): Promise<void> {
    await this.events.queueEvents.waitUntilReady();
    await this.audio.add('transcode', { file: 'song.wav' });
    await this.audio.add('transcode', { file: 'broken' });
  }
}

const connection = { host: process.env['QUEUE_HOST']!, port: Number(process.env['QUEUE_PORT']), password: process.env['QUEUE_PASSWORD']! };

@Module({
  imports: [BullModule.forRoot({ connection }), BullModule.registerQueue({ name: 'audio' })],
  providers: [Transcoder, AudioProcessor, AudioEvents, AudioService],
})
class AppModule {}

const app = await NestFactory.createApplicationContext(AppModule, { logger: ['error', 'warn'] });
app.enableShutdownHooks();
say({ ready: true });
`;

const CONFIGURATION = {
  compilerOptions: { ...STRICT, experimentalDecorators: true, skipLibCheck: true },
  include: ['*.ts'],
};

test('@nestjs/bullmq processes, listens, injects and ends', async () => {
  const place = await startPlace();
  const files = { 'application.ts': APPLICATION, 'tsconfig.json': JSON.stringify(CONFIGURATION) };
  const app = newApp(files, onTestFinished);
  expect(await app.compile()).toEqual([]);

  const program = talking([app.pathOf('application.js')], place.env);
  await program.says((line) => line['completed'] === 'song.mp3');
  await program.says((line) => line['failed'] === 'transcode' && line['reason'] === 'no such codec');
  await program.says((line) => 'heardCompleted' in line && line['returnvalue'] === 'song.mp3');
  await program.says((line) => line['heardProgress'] === 50);
  expect(program.said.filter((line) => 'active' in line)).toHaveLength(2);

  const queue = await place.queue('audio');
  expect(await queue.getWorkersCount()).toBe(1);
  const ended = await program.end('SIGTERM');
  expect({ ...ended, code: undefined }).toEqual({ code: undefined, signal: 'SIGTERM', errors: '' });
  expect(await queue.getWorkersCount()).toBe(0);
  expect(await queue.getJobCounts('completed', 'failed', 'active', 'waiting')).toEqual({
    completed: 1,
    failed: 1,
    active: 0,
    waiting: 0,
  });
}, 60_000);
