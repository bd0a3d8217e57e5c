/** All groups; a new one is a file in `groups/` and a name here. */
import type { Case, Group } from './case.ts';
import { bullmq } from './groups/bullmq.ts';
import { embedded } from './groups/embedded.ts';
import { jobs } from './groups/jobs.ts';
import { kv } from './groups/kv.ts';
import { socket, tcp } from './groups/processes.ts';
import { schedules } from './groups/schedules.ts';
import { talk } from './groups/talk.ts';
import { takeover } from './groups/takeover.ts';
import { thread } from './groups/thread.ts';

const GROUPS: readonly Group[] = [embedded, socket, tcp, thread, takeover, kv, jobs, schedules, talk, bullmq];

export function groupNames(): string[] {
  return GROUPS.map(({ name }) => name);
}

/** The group of this name, if there is one; without a name, every group that does not have to be named. */
export function selectGroups(name: string | undefined): readonly Group[] {
  return GROUPS.filter((group) => (name === undefined ? group.onlyByName !== true : group.name === name));
}

/** @throws RangeError when there is none */
export function findCase(group: string, name: string): Case {
  const found = selectGroups(group)
    .flatMap(({ cases }) => cases)
    .find((one) => one.name === name);
  if (found === undefined) throw new RangeError(`Cannot find the case "${name}" of the group "${group}"`);
  return found;
}
