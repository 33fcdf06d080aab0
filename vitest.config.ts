import { defineConfig } from 'vitest/config';

/** A file for vitest's JSON report, which .ci/run counts from. */
const report = process.env.RMAPFS_TEST_REPORT;

/** A second try is for a machine that did not keep up; .ci/run names each test that needed it. */
const retry = process.env.CI ? 1 : 0;

export default defineConfig({
  test: {
    reporters: report ? ['default', ['json', { outputFile: report }]] : ['default'],
    passWithNoTests: false,
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          retry,
          testTimeout: 120_000,
          setupFiles: ['test/support/seed.ts'],
        },
      },
      {
        test: {
          name: 'mount',
          include: ['mount-test/**/*.test.ts'],
          retry,
          testTimeout: 180_000,
          hookTimeout: 120_000,
          // A mount is shared machine state (/proc, /dev/fuse): one file at a time.
          fileParallelism: false,
          setupFiles: ['test/support/seed.ts'],
        },
      },
    ],
  },
});
