import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { must, need } from '../store/children.ts';

/** A new folder that is deleted behind the last test of the file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-faults-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A small file system of its own, which is unmounted behind the last test of the file. Needs root. */
export function smallDisk(megabytes: number): string {
  if (process.getuid?.() !== 0)
    throw new Error('A small disk must be mounted, which needs root: run this test as root');
  need('mkfs.ext4', 'mount', 'umount', 'fallocate');
  const base = mkdtempSync(join(tmpdir(), 'holdfast-disk-'));
  const [image, mounted] = [join(base, 'image'), join(base, 'mounted')];
  mkdirSync(mounted);
  afterAll(() => {
    must('umount', mounted);
    rmSync(base, { recursive: true });
  });
  must('fallocate', '-l', `${megabytes}M`, image);
  must('mkfs.ext4', '-q', image);
  must('mount', '-o', 'loop', image, mounted);
  return mounted;
}
