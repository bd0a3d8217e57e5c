/** All groups; a new one is a file in `groups/` and a line here. */
import type { Case, Group } from './case.ts';
import { embedded } from './groups/embedded.ts';
import { thread } from './groups/thread.ts';

const GROUPS: readonly Group[] = [embedded, thread];

/** The group of this name, or, without a name, every group that does not have to be named. */
export function selectGroups(name: string | undefined): readonly Group[] {
  if (name === undefined) return GROUPS.filter(({ onlyByName }) => onlyByName !== true);
  return [findGroup(name)];
}

/** @throws TypeError naming the groups and cases that there are */
export function findCase(group: string, name: string): Case {
  const { cases } = findGroup(group);
  const found = cases.find((one) => one.name === name);
  if (found !== undefined) return found;
  throw new TypeError(`Cannot find the case "${name}": "${group}" has ${cases.map((one) => one.name).join(', ')}`);
}

function findGroup(name: string): Group {
  const found = GROUPS.find((group) => group.name === name);
  if (found !== undefined) return found;
  throw new TypeError(`Cannot find the group "${name}": there are ${GROUPS.map((group) => group.name).join(', ')}`);
}
