import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { currentMounts } from '../src/cli/mounts.js';
import { run } from './support/run.js';

/** The demo is the README's first command: it must tell the whole story, and leave nothing behind. */

const DEMO = resolve(import.meta.dirname, '../dist/demo/main.js');

/** What the demo with this output has left: mounts, region, mount point, log. Other demos may run meanwhile. */
function traces(said: string): string[] {
  const name = /rmapfs-demo-\w+/.exec(said)?.[0];
  if (name === undefined) throw new Error(`the demo did not name its region:\n${said}`);
  const mounts = currentMounts().filter((mount) => mount.mountpoint.includes(name));
  const files = ['/tmp', '/dev/shm', '/var/log/rmapfs'].flatMap((directory) =>
    (existsSync(directory) ? readdirSync(directory) : []).filter((entry) => entry.includes(name)),
  );
  return [...mounts.map((mount) => mount.mountpoint), ...files];
}

describe('the demo', () => {
  it('observes every step and ends with 0', () => {
    const done = run(process.execPath, [DEMO], { timeout: 110_000 });
    expect(done.stderr).toBe('');
    expect(done.status).toBe(0);
    expect(done.stdout.match(/SIGBUS BUS_MCEERR_AO at 0x[0-9a-f]+ lsb 12/g)).toHaveLength(4);
    expect(done.stdout.match(/: EIO\n/g)).toHaveLength(3);
    expect(done.stdout).toMatch(/bad bytes left: 0\n/);
    expect(done.stdout).toMatch(/Everything was as it should be\.\n$/);
    expect(traces(done.stdout)).toEqual([]);
  });

  it('fails, says at what, and cleans up when cp does not share', () => {
    const directory = mkdtempSync(join(tmpdir(), 'rmapfs-cp-'));
    try {
      writeFileSync(join(directory, 'cp'), '#!/bin/sh\ndd "if=$1" "of=$2" bs=64K status=none\n', {
        mode: 0o755,
      });
      const env = { ...process.env, PATH: `${directory}:${process.env.PATH}` };
      const done = run(process.execPath, [DEMO], { timeout: 110_000, env });
      expect(done.status).toBe(1);
      expect(done.stderr).toMatch(/^\ndemo: FAILED: the copy took 2\d\d\d blocks/);
      expect(traces(done.stdout)).toEqual([]);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it.each([/^1\. /m, /\$ rmapfs mount/, /maps \/copy at/, /^7\. /m])(
    'cleans up after Ctrl-C at %s',
    async (moment) => {
      const child = spawn(process.execPath, [DEMO], { stdio: ['ignore', 'pipe', 'pipe'] });
      let said = '';
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        const reached = moment.test(said);
        said += text;
        if (!reached && moment.test(said)) child.kill('SIGINT');
      });
      const status = await new Promise((ended) => child.once('exit', (code) => ended(code)));
      expect(said).toMatch(moment);
      expect(status).toBe(130);
      expect(traces(said)).toEqual([]);
    },
  );
});
