/** What the web process and the worker have in common: each builds a container of its own, and asks it for what it needs. */
import { asFunction, asValue, createContainer, type AwilixContainer } from 'awilix';
import { Queue } from 'holdfast/bullmq';
import { type Config, readConfig } from './config.ts';
import { FileStorage } from './file-storage.ts';
import { Thumbnailer } from './thumbnailer.ts';

/** The data of a job. */
export interface Upload {
  readonly fileId: string;
}

export interface Thumbnail {
  readonly width: number;
  readonly height: number;
}

export interface Services {
  readonly config: Config;
  readonly files: FileStorage;
  readonly thumbnailer: Thumbnailer;
  readonly uploads: Queue<Upload, Thumbnail>;
}

export const QUEUE_NAME = 'uploaded_files_queue';

const DAY_S = 24 * 3_600;

/** Nothing is made before it is asked for; `dispose()` closes what was. */
export function createServices(): AwilixContainer<Services> {
  return createContainer<Services>().register({
    config: asValue(readConfig(process.env)),
    files: asFunction(({ config }: Services) => new FileStorage(config.folder)).singleton(),
    thumbnailer: asFunction(
      ({ files, config }: Services) => new Thumbnailer(files, config.thumbnailPixels),
    ).singleton(),
    uploads: asFunction(
      ({ config }: Services) =>
        new Queue<Upload, Thumbnail>(QUEUE_NAME, {
          connection: config.connection,
          defaultJobOptions: {
            attempts: 3,
            backoff: { type: 'exponential', delay: 1_000 },
            removeOnComplete: { age: DAY_S },
            removeOnFail: { age: 7 * DAY_S },
          },
        }),
    )
      .singleton()
      .disposer((queue) => queue.close()),
  });
}
