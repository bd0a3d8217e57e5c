/** The machine that the figures are of. */
import { existsSync, readFileSync, statfsSync } from 'node:fs';
import { arch, cpus, platform, release, totalmem } from 'node:os';

export interface MachineReport {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly platform: string;
  readonly node: string;
  /** Of the folder that the data is in. */
  readonly fileSystem: string;
}

/** From statfs(2) of Linux; other systems count differently and get the number. */
const FILE_SYSTEMS: Readonly<Record<number, string>> = {
  0xef53: 'ext4',
  0x58465342: 'xfs',
  0x9123683e: 'btrfs',
  0x01021994: 'tmpfs',
  0x794c7630: 'overlayfs',
  0x2fc12fc1: 'zfs',
};

const STAT = '/proc/stat';
/** The places of the times in the first line of /proc/stat, proc_stat(5): the eighth is what was stolen. */
const [FIRST_TIME, STOLEN, TIMES] = [1, 8, 8];

/** Starts to watch what the host takes away; the function gives the share since then, in percent. */
export function watchStolenTime(): () => number | undefined {
  if (!existsSync(STAT)) return () => undefined;
  const times = (): number[] =>
    readFileSync(STAT, 'utf8')
      .split(/\s+/, FIRST_TIME + TIMES)
      .map(Number);
  const before = times();
  return () => {
    const passed = times().map((time, i) => time - (before[i] as number));
    const all = passed.slice(FIRST_TIME).reduce((sum, time) => sum + time, 0);
    return all === 0 ? 0 : ((passed[STOLEN] as number) / all) * 100;
  };
}

export function describeMachine(folder: string): MachineReport {
  const { type } = statfsSync(folder);
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryBytes: totalmem(),
    platform: `${platform()} ${release()} ${arch()}`,
    node: process.version,
    fileSystem: FILE_SYSTEMS[type] ?? `type ${type}`,
  };
}
