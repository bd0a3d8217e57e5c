import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { outputs, program, root, run } from './project.mjs';
import { build, clients, packageChecks, sourceChecks, take } from './steps.mjs';

/**
 * Builds, checks and tests the package. The last line is always `N passed, N failed`; a check counts like a test, and so
 * does a test file that cannot be loaded. The exit code is 0 only when nothing failed.
 */
const total = { passed: 0, failed: 0 };

try {
  await testAll();
} catch (error) {
  console.error(error);
  total.failed += 1;
}
process.exitCode = total.failed === 0 ? 0 : 1;
console.log(`${total.passed} passed, ${total.failed} failed`);

async function testAll() {
  for (const step of sourceChecks) count(await take(step));
  const built = await take(build);
  count(built);
  if (!built) {
    console.log('The package was not checked and no test ran: the build failed');
    return;
  }
  for (const step of [...packageChecks, clients]) count(await take(step));
  await runTests();
}

function count(passed) {
  total[passed ? 'passed' : 'failed'] += 1;
}

async function runTests() {
  const reportFile = join(outputs.other, 'vitest.json');
  // A report of an earlier run must never be counted in place of one that this run could not write.
  await rm(reportFile, { force: true });
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${reportFile}`];
  const { code } = await run([program('vitest'), 'run', ...reporters], { show: true });

  const report = JSON.parse(await readFile(reportFile, 'utf8'));
  const unloaded = report.testResults.filter(fileFailedAsAWhole).length;
  const failed = report.numFailedTests + unloaded;
  total.passed += report.numPassedTests;
  total.failed += failed;

  // Errors outside of any test, or no test at all, fail the run without a failed test in the report.
  if (code !== 0 && failed === 0) total.failed += 1;
  listSkipped(report);
}

function fileFailedAsAWhole({ status, assertionResults }) {
  return status === 'failed' && !assertionResults.some((test) => test.status === 'failed');
}

/** A skipped test counts neither way, hence it is named. */
function listSkipped(report) {
  for (const { name, assertionResults } of report.testResults) {
    for (const { fullName, status } of assertionResults) {
      if (status !== 'passed' && status !== 'failed')
        console.log(`${status}  ${name.slice(root.length + 1)} ${fullName}`);
    }
  }
}
