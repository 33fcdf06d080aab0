import type { ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { describe, expect, it } from 'vitest';
import { CLI, cli, cliOk, type Mounted, withMount } from './support/harness.js';
import { BLOCK, physicalOf, poisonFile } from './support/poison.js';
import { runAs, sys, waitFor } from './support/run.js';

interface Event {
  type: string;
  seq: number;
  count: number;
  [field: string]: unknown;
}

const LIMIT_MS = 30_000;

const eventsOf = (m: Mounted): { lost: number; events: Event[] } =>
  cli('events', m.dir, '--json').json<{ lost: number; events: Event[] }>();

/** A follower that has begun to wait: it has printed all events so far. */
class Follower {
  readonly events: Event[] = [];
  readonly child: ChildProcess;
  ended: { status: number | null; signal: NodeJS.Signals | null } | undefined;

  constructor(m: Mounted) {
    this.child = m.spawn(process.execPath, [CLI, 'events', m.dir, '--follow', '--json']);
    if (!this.child.stdout) throw new Error('started without a pipe');
    createInterface({ input: this.child.stdout }).on('line', (line) => {
      this.events.push(JSON.parse(line) as Event);
    });
    this.child.on('close', (status, signal) => {
      this.ended = { status, signal };
    });
  }

  async saw(count: number): Promise<Event[]> {
    await waitFor(`${count} events`, () => (this.events.length >= count ? true : undefined), LIMIT_MS);
    return this.events;
  }

  async end(): Promise<{ status: number | null; signal: NodeJS.Signals | null }> {
    return await waitFor('the end of the follower', () => this.ended, LIMIT_MS);
  }
}

function makeFile(m: Mounted, name: string, blocks = 4): string {
  const file = m.path(name);
  writeFileSync(file, Buffer.alloc(blocks * BLOCK, 'x'));
  return file;
}

describe('failure events', () => {
  it('tell of the error, the lost data and the healing, in order and from the start', () =>
    withMount({}, (m) => {
      const file = makeFile(m, 'a');
      expect(cliOk('events', m.dir)).toBe('no failure events\n');
      poisonFile(file, BLOCK);
      const physical = physicalOf(file, BLOCK);
      const { ino } = sys('statx', file);
      expect(sys('write', file, BLOCK, BLOCK, 0x77).ret).toBe(BLOCK);
      expect(eventsOf(m)).toMatchObject({
        lost: 0,
        events: [
          { seq: 1, type: 'media-error', physical, length: BLOCK, by: 'poison', owners: 1, victims: 0 },
          { seq: 2, type: 'data-lost', ino, paths: ['/a'], fileOffset: BLOCK, physical, length: BLOCK },
          { seq: 3, type: 'healed', physical, length: BLOCK, by: 'write' },
        ],
      });
      expect(cliOk('events', m.dir)).toMatch(/data-lost: 4096 bytes at offset 4096 of \/a/);
    }));

  it('begin, at a mount, with the bad blocks that it found', () =>
    withMount({}, async (m) => {
      const file = makeFile(m, 'a');
      poisonFile(file, 0);
      poisonFile(file, 2 * BLOCK);
      await m.remount();
      expect(eventsOf(m).events).toMatchObject([
        { seq: 1, type: 'remount-with-bad-blocks', ranges: 2, length: 2 * BLOCK },
      ]);
      expect(cli('unpoison', '--file', file, '--offset', '0', '--length', '4K').status).toBe(0);
      expect(eventsOf(m).events.at(-1)).toMatchObject({ type: 'healed', by: 'unpoison' });
    }));

  it('reach every follower, and a shutdown too', () =>
    withMount({}, async (m) => {
      const followers = Array.from({ length: 3 }, () => new Follower(m));
      poisonFile(makeFile(m, 'a'), 0);
      for (const follower of followers) await follower.saw(2);
      expect(cli('poison', m.dir, '--offset', '0', '--length', '4K').status).toBe(0);
      for (const follower of followers) {
        const types = (await follower.saw(3)).map((event) => event.type);
        expect(types.slice(0, 2)).toEqual(['media-error', 'data-lost']);
        expect(types.slice(2)).toContain('media-error');
      }
      for (const { child } of followers) child.kill('SIGKILL');
      for (const follower of followers) expect(await follower.end()).toMatchObject({ signal: 'SIGKILL' });
    }));

  it('let a follower go by Ctrl-C, and by the end of the mount', () =>
    withMount({}, async (m) => {
      poisonFile(makeFile(m, 'a'), 0);
      const interrupted = new Follower(m);
      await interrupted.saw(2);
      interrupted.child.kill('SIGINT');
      expect(await interrupted.end()).toMatchObject({ signal: 'SIGINT' });
      const follower = new Follower(m);
      await follower.saw(2);
      expect(cli('umount', m.dir).status).toBe(1);
      process.kill(m.daemonPid, 'SIGTERM');
      expect(await follower.end()).toEqual({ status: 0, signal: null });
      await m.ended();
    }));

  it('are for root and the owner of the mount', () =>
    withMount({}, (m) => {
      const done = runAs(65534, process.execPath, CLI, 'events', m.dir);
      expect([done.status, done.stderr]).toEqual([
        1,
        expect.stringMatching(/root and to the user who mounted/),
      ]);
    }));
});
