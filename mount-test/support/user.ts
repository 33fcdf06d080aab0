import { type ChildProcess, spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { daemonOf, isAlive, mountOf } from './daemon.js';
import { CLI, killGroup } from './harness.js';
import { type Finished, run, waitFor } from './run.js';

/** The user "nobody" of Debian: real, and without any rights. */
const UID = 65534;
const DAEMON_LIMIT_MS = 20_000;

/** A directory of an ordinary user, with a region and a mount point, and what that user does there. */
export class OrdinaryUser {
  readonly base = mkdtempSync('/dev/shm/rmapfs-user-');
  readonly region = join(this.base, 'region');
  readonly dir = join(this.base, 'mnt');
  readonly #children: ChildProcess[] = [];
  readonly #env = { ...process.env, HOME: this.base, XDG_STATE_HOME: join(this.base, 'state') };

  constructor() {
    mkdirSync(this.dir);
    chmodSync(this.base, 0o755);
    for (const path of [this.base, this.dir]) chownSync(path, UID, UID);
  }

  /** Runs a program as the user, without capabilities. */
  run(program: string, ...args: string[]): Finished {
    return run(program, args, { uid: UID, gid: UID, env: this.#env });
  }

  rmapfs(...args: string[]): Finished {
    return this.run(process.execPath, CLI, ...args);
  }

  /** Starts a program that is killed at the end of the test if it still runs. */
  spawn(program: string, args: string[]): ChildProcess {
    const child = spawn(program, args, { uid: UID, gid: UID, env: this.#env, detached: true });
    this.#children.push(child);
    return child;
  }

  /** Waits until the daemon has ended, however it came to that. */
  async daemonEnded(): Promise<void> {
    await waitFor('the end of the daemon', () => (daemonOf(this.region) === 0 ? true : undefined));
  }

  async cleanUp(): Promise<void> {
    for (const child of this.#children) killGroup(child);
    if (mountOf(this.dir)) run('umount', ['-l', this.dir]);
    const pid = daemonOf(this.region);
    if (pid !== 0) process.kill(pid, 'SIGKILL');
    await waitFor('the end of the daemon', () => (isAlive(pid) ? undefined : true), DAEMON_LIMIT_MS);
    rmSync(this.base, { recursive: true, force: true });
  }
}

/** With a formatted region of the user's, not mounted. */
export async function asOrdinaryUser(test: (user: OrdinaryUser) => Promise<void> | void): Promise<void> {
  const user = new OrdinaryUser();
  try {
    const made = user.rmapfs('mkfs', user.region, '--size', '16M');
    if (made.status !== 0) throw new Error(made.stderr);
    await test(user);
  } finally {
    await user.cleanUp();
  }
}

/** fusermount3 opens /dev/fuse as its caller: where udev has not made it everybody's, it is for the tests. */
export function openUpFuse(): () => void {
  const before = statSync('/dev/fuse').mode & 0o777;
  chmodSync('/dev/fuse', 0o666);
  return () => chmodSync('/dev/fuse', before);
}

/** Lets ordinary users mount with allow_other, for as long as the tests need it. */
export function allowOther(): () => void {
  const conf = '/etc/fuse.conf';
  const before = readFileSync(conf);
  writeFileSync(conf, Buffer.concat([before, Buffer.from('\nuser_allow_other\n')]));
  return () => writeFileSync(conf, before);
}
