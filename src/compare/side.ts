import fs from 'node:fs';
import path from 'node:path';
import { Agent } from './agent.js';
import { AGENT_PROGRAM, CompareError, EXEC_PROGRAM, runCommand, runProgram } from './programs.js';

const XFS_BYTES = 512 * 1024 * 1024;
const REGION_SIZE = '256M';
const UNMOUNT_TRIES = 100;
const UNMOUNT_PAUSE_MS = 50;

/** How one of the two filesystems is made and mounted. */
interface Kind {
  readonly name: 'XFS' | 'rmapfs';
  mkfs(store: string): Promise<unknown>;
  mount(store: string, dir: string): Promise<unknown>;
  umount(dir: string): Promise<unknown>;
  /** The command of an agent that uses `dir`. */
  agent(dir: string): string[];
}

/** Without speculative blocks behind the end of a file, which are XFS's own affair. */
const XFS: Kind = {
  name: 'XFS',
  async mkfs(store) {
    fs.writeFileSync(store, '');
    fs.truncateSync(store, XFS_BYTES);
    await runProgram('mkfs.xfs', '-q', '-f', '-m', 'reflink=1,rmapbt=1', store);
  },
  mount: (store, dir) => runProgram('mount', '-t', 'xfs', '-o', 'loop,allocsize=4096', store, dir),
  umount: (dir) => runProgram('umount', dir),
  agent: (dir) => [AGENT_PROGRAM, dir],
};

const RMAPFS: Kind = {
  name: 'rmapfs',
  mkfs: (store) => runCommand('mkfs', store, '--size', REGION_SIZE, '--sparse', '--force'),
  mount: (store, dir) => runCommand('mount', store, dir, '-o', `allow_other,log=${store}.log`),
  umount: (dir) => runCommand('umount', dir),
  agent: (dir) => [EXEC_PROGRAM, AGENT_PROGRAM, dir],
};

/** One filesystem of the comparison, with the program that works on it. Everything of it lies below `base`. */
export class Side {
  readonly #kind: Kind;
  readonly #store: string;
  readonly #dir: string;
  #agent: Agent | undefined;
  #mounted = false;

  private constructor(kind: Kind, base: string) {
    this.#kind = kind;
    this.#store = path.join(base, `${kind.name}.image`);
    this.#dir = path.join(base, kind.name);
  }

  static both(base: string): [xfs: Side, rmapfs: Side] {
    return [new Side(XFS, base), new Side(RMAPFS, base)];
  }

  /** A new, empty filesystem, mounted, with an agent. */
  async make(): Promise<void> {
    fs.mkdirSync(this.#dir, { recursive: true });
    await this.#kind.mkfs(this.#store);
    await this.#mount();
    fs.chmodSync(this.#dir, 0o755);
    this.#agent = new Agent(this.#kind.agent(this.#dir));
  }

  run(lines: readonly string[]): Promise<string[]> {
    if (this.#agent === undefined) throw new CompareError(`${this.#kind.name} is not mounted`);
    return this.#agent.run(lines);
  }

  /** Unmounts and mounts again. The agent must have left the mount. */
  async remount(): Promise<void> {
    await this.#umount();
    await this.#mount();
  }

  async #mount(): Promise<void> {
    await this.#kind.mount(this.#store, this.#dir);
    this.#mounted = true;
  }

  /** A process that has just ended may keep the mount busy for a moment. */
  async #umount(): Promise<void> {
    for (let tries = 1; this.#mounted; tries++) {
      try {
        await this.#kind.umount(this.#dir);
        this.#mounted = false;
      } catch (error) {
        if (tries === UNMOUNT_TRIES || !/busy|in use/.test((error as Error).message)) throw error;
        await new Promise((resolve) => setTimeout(resolve, UNMOUNT_PAUSE_MS));
      }
    }
  }

  /** Takes away what make() made, whatever state it is in. */
  async remove(): Promise<void> {
    const agent = this.#agent;
    this.#agent = undefined;
    await agent?.end();
    try {
      await this.#umount();
    } catch {
      // A daemon that is gone or hangs: what is left of it is cleared by force.
      await runProgram('umount', '-l', this.#dir);
      this.#mounted = false;
    }
    fs.rmSync(this.#store, { force: true });
  }
}
