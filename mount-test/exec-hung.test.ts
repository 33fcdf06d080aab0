import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { describe, expect, it } from 'vitest';
import { helper } from './support/compile.js';
import { daemonOf } from './support/daemon.js';
import { CLI, withMount } from './support/harness.js';

/** A mount whose daemon does not answer, and others, below one `rmapfs exec`. */

const CALLERS = 20;
const LEFT = 4;
/** Calls that are served at the same time for one mount. */
const SERVED_AT_ONCE = 8;
const BLOCK = 4096;
/** The supervisor's: its first one, those of the mount that hangs, and one that may just be ending. */
const isBounded = (threads: number): boolean => threads > SERVED_AT_ONCE && threads <= 1 + SERVED_AT_ONCE + 1;

/** Stops the daemon, and lets it go on whatever comes. */
async function whileStopped(daemon: number, during: () => Promise<void>): Promise<void> {
  process.kill(daemon, 'SIGSTOP');
  try {
    await during();
  } finally {
    process.kill(daemon, 'SIGCONT');
  }
}

describe('a mount that hangs, below rmapfs exec', () => {
  it('holds its own callers only, and those no longer than they live', () =>
    withMount({}, (hung) =>
      withMount({}, async (healthy) => {
        const tmpfs = mkdtempSync('/dev/shm/rmapfs-exec-hung-');
        const command = [helper('beside'), hung.dir, healthy.dir, tmpfs, `${CALLERS}`];
        const child = spawn(process.execPath, [CLI, 'exec', '--', ...command], {
          stdio: ['pipe', 'pipe', 'inherit'],
        });
        const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
        const next = async (): Promise<unknown> => JSON.parse((await lines.next()).value ?? 'null');
        try {
          expect(await next()).toEqual({ ready: true });
          await whileStopped(daemonOf(hung.region), async () => {
            child.stdin.write('x');
            expect(await next()).toEqual({
              ...{ tmpfsClone: 'EOPNOTSUPP', tmpfsFiemap: 'EOPNOTSUPP', tmpfsInsert: 'EOPNOTSUPP' },
              ...{ clone: '0', fiemap: '0', insert: '0', cloneFromHung: 'EXDEV', dedupeIntoHung: 'EXDEV' },
              threads: expect.toSatisfy(isBounded),
            });
            expect(await next()).toEqual({ killed: CALLERS - LEFT });
          });
          expect(await next()).toEqual({ inserted: LEFT });
          // What those wanted that were killed while they waited for their turn is not done.
          const inserted = statSync(hung.path('f')).size / BLOCK - 2;
          expect(inserted).toBeGreaterThanOrEqual(LEFT);
          expect(inserted).toBeLessThanOrEqual(LEFT + SERVED_AT_ONCE);
        } finally {
          child.stdin.destroy();
          rmSync(tmpfs, { recursive: true });
        }
      }),
    ));
});
