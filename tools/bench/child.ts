/** One step of one case, in a process of its own: `child.js GROUP CASE STEP FOLDER`, where STEP is a number for a limit. */
import { findCase } from './groups.ts';

const [group = '', name = '', step = '', folder = ''] = process.argv.slice(2);
const { prepare, run, limits = [] } = findCase(group, name);

const work = step === 'prepare' ? prepare : step === 'run' ? run : limits[Number(step)];
if (work === undefined) throw new RangeError(`Cannot find the step "${step}" of the case "${name}"`);
const outcome = await work(folder);
process.send?.(outcome ?? null, () => process.disconnect());
