/** Makes small images of large ones. */
import { UnrecoverableError } from 'holdfast/bullmq';
import sharp from 'sharp';
import type { FileStorage } from './file-storage.ts';

export class Thumbnailer {
  readonly #files: FileStorage;
  readonly #pixels: number;

  constructor(files: FileStorage, pixels: number) {
    this.#files = files;
    this.#pixels = pixels;
  }

  /** Writes the thumbnail of an uploaded file. Doing it twice does no harm, so it may run again after a crash. */
  async make(fileId: string): Promise<{ width: number; height: number }> {
    const original = await this.#files.read('original', fileId);
    if (original === undefined) throw new UnrecoverableError(`There is no file ${fileId}`);
    const image = sharp(original, { limitInputPixels: 100_000_000 });
    await image.metadata().catch((error: Error) => {
      // It will be no image at the next attempt either.
      throw new UnrecoverableError(`Cannot read the image: ${error.message}`);
    });
    const { data, info } = await image
      .rotate()
      .resize(this.#pixels, this.#pixels, { fit: 'inside', withoutEnlargement: true })
      .webp()
      .toBuffer({ resolveWithObject: true });
    await this.#files.write('thumbnail', fileId, data);
    return { width: info.width, height: info.height };
  }
}
