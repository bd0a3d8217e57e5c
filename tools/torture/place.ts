/** Where the data of a torture run is, and what strikes it there. */
import { type ChildProcess, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { UsageError } from '../command-line.ts';

export type FileSystem = 'ext4' | 'xfs';

export interface Place {
  /** Where data folders may be made. */
  readonly folder: string;
  /** Ends the process, the way that this place has. */
  strike(child: ChildProcess): void;
  /** Makes the folder usable again, when the process is gone. */
  recover(): void;
  /** Leaves nothing behind. Safe twice. */
  close(): void;
}

/** A plain folder, in which processes are killed. */
export function killPlace(): Place {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-torture-'));
  return {
    folder,
    strike: (child) => void child.kill('SIGKILL'),
    recover: () => {},
    close: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** The file system's own minimum, and room for what a run stores. */
const IMAGE_BYTES: Readonly<Record<FileSystem, number>> = { ext4: 256 * 1024 * 1024, xfs: 384 * 1024 * 1024 };

/**
 * FS_IOC_SHUTDOWN, _IOR('X', 125, __u32), with 2, FSOP_GOING_FLAGS_NOLOGFLUSH: the file system takes no write from
 * now on, its log included. What it had not made durable is gone, as after a power cut.
 */
const CUT_SCRIPT = `open(my $top, '<', $ARGV[0]) or die "open: $!"; my $flags = pack('L', 2);
ioctl($top, 0x8004587d, $flags) or die "FS_IOC_SHUTDOWN: $!";`;

/**
 * A file system of its own, on a loop device, that loses its power.
 *
 * @throws UsageError when this user may not mount
 */
export function powerCutPlace(fileSystem: FileSystem): Place {
  if (process.getuid?.() !== 0) {
    throw new UsageError('Cannot cut the power as this user: mounting a file system needs root, so run it as root');
  }
  run('bash', [
    fileURLToPath(new URL('../../../scripts/need.sh', import.meta.url)),
    `mkfs.${fileSystem}`,
    'mount',
    'umount',
    'setsid',
  ]);
  const base = mkdtempSync(join(tmpdir(), 'holdfast-powercut-'));
  const [image, folder] = [join(base, 'image'), join(base, 'mounted')];
  let mounted = false;
  const mount = (): void => {
    runApart('mount', ['-o', 'loop', image, folder]);
    mounted = true;
  };
  const unmount = (): void => {
    if (mounted) runApart('umount', [folder]);
    mounted = false;
  };
  const close = (): void => {
    unmount();
    rmSync(base, { recursive: true, force: true });
  };
  try {
    mkdirSync(folder);
    writeFileSync(image, '');
    truncateSync(image, IMAGE_BYTES[fileSystem]);
    runApart(`mkfs.${fileSystem}`, ['-q', image]);
    mount();
  } catch (error) {
    close();
    throw error;
  }
  return {
    folder,
    strike: (child) => {
      // Stopped first: a process that saw its writes fail might still say something about it.
      child.kill('SIGSTOP');
      runApart('perl', ['-e', CUT_SCRIPT, folder]);
      child.kill('SIGKILL');
    },
    recover: () => {
      unmount();
      mount();
    },
    close,
  };
}

/** As {@link run}, out of reach of a Ctrl+C, which would leave half a mount behind. */
function runApart(program: string, args: readonly string[]): void {
  run('setsid', ['--wait', program, ...args]);
}

function run(program: string, args: readonly string[]): void {
  // The programs that make file systems live where an ordinary user's PATH does not look.
  const env = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/local/sbin:/usr/sbin:/sbin` };
  const { status, stderr, error } = spawnSync(program, args, {
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`Cannot run ${program}: ${stderr.trim()}`);
}
