import { defineConfig } from 'vitest/config';

/** A file for vitest's JSON report, which .ci/run counts from. */
const report = process.env.RMAPFS_TEST_REPORT;

export default defineConfig({
  test: {
    reporters: report ? ['default', ['json', { outputFile: report }]] : ['default'],
    passWithNoTests: false,
    projects: [
      { test: { name: 'unit', include: ['test/**/*.test.ts'], testTimeout: 60_000 } },
      {
        test: {
          name: 'mount',
          include: ['mount-test/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 60_000,
          // A mount is shared machine state (/proc, /dev/fuse): one file at a time.
          fileParallelism: false,
        },
      },
    ],
  },
});
