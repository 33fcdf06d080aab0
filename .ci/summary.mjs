// Usage: node summary.mjs REPORT STATUS
// Reads vitest's JSON report and the exit status of `npm test`; prints what failed or did not run and, as the
// last line, "N passed, N failed". A skipped test, a file that could not be loaded, and a failure outside the
// tests (lint, types, build, the time limit) count as failed.
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';

/** The report, or undefined when `npm test` ended before vitest wrote one. */
function readReport(path) {
  const text = readFileSync(path, 'utf8');
  return text === '' ? undefined : JSON.parse(text);
}

function count(report) {
  let passed = 0;
  const problems = [];
  for (const file of report.testResults) {
    const name = relative(process.cwd(), file.name);
    if (file.status === 'failed' && file.assertionResults.every((test) => test.status !== 'failed'))
      problems.push(`FAILED ${name}: ${file.message || 'failed outside its tests'}`);
    else if (file.assertionResults.length === 0) problems.push(`NOT RUN ${name}: no tests`);
    for (const test of file.assertionResults) {
      if (test.status === 'passed') {
        passed++;
        const [first] = test.failureMessages;
        if (first !== undefined) {
          console.log(
            `UNSTABLE (passed the second time) ${name}: ${test.fullName}\n  ${first.split('\n    at ')[0]}`,
          );
        }
      } else problems.push(`${test.status === 'failed' ? 'FAILED' : 'NOT RUN'} ${name}: ${test.fullName}`);
    }
  }
  return { passed, problems };
}

const [reportPath, status] = process.argv.slice(2);
const report = readReport(reportPath);
const { passed, problems } = report ? count(report) : { passed: 0, problems: [] };
if (status !== '0' && problems.length === 0) {
  const why = status === '124' ? 'was ended by the time limit' : `ended with status ${status}`;
  problems.push(`npm test ${why}${report ? '' : ' before there was a report'}`);
}
if (status === '0' && passed === 0) problems.push('no test ran');
for (const problem of problems) console.log(problem);
console.log(`${passed} passed, ${problems.length} failed`);
process.exitCode = problems.length === 0 ? 0 : 1;
