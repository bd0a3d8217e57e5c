/** The worker: as many of these as there is work for. */
import { availableParallelism } from 'node:os';
import { Worker } from 'holdfast/bullmq';
import { createServices, QUEUE_NAME, type Thumbnail, type Upload } from './container.ts';

const services = createServices();
const { config, thumbnailer } = services.cradle;

const worker = new Worker<Upload, Thumbnail>(QUEUE_NAME, ({ data }) => thumbnailer.make(data.fileId), {
  connection: config.connection,
  concurrency: availableParallelism(),
});
worker.on('completed', (job) => console.log(`Made the thumbnail of ${job.data.fileId}`));
worker.on('failed', (job, error) => console.error(`No thumbnail of ${job?.data.fileId}: ${error.message}`));
worker.on('error', (error) => console.error(error));

await worker.waitUntilReady();
console.log('Waiting for uploads');

process.once('SIGTERM', () => {
  // What is being worked on is finished; nothing more is taken.
  void worker.close().then(() => services.dispose());
});
