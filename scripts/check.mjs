import { build, packageChecks, sourceChecks, structure, take } from './steps.mjs';

let passed = true;
for (const step of sourceChecks) passed = (await take(step)) && passed;

if (await take(build)) {
  for (const step of [structure, ...packageChecks]) passed = (await take(step)) && passed;
} else {
  passed = false;
  console.log('The import directions and the package were not checked: the build failed');
}

process.exitCode = passed ? 0 : 1;
