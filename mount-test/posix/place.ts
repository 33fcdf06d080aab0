import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** An empty directory on the filesystem under test, a case's own. */
export class Place {
  readonly dir: string;

  constructor(dir: string) {
    this.dir = dir;
  }

  path(...parts: string[]): string {
    return join(this.dir, ...parts);
  }

  /** Makes a file and returns its path. */
  file(name: string, content: string | Uint8Array = ''): string {
    writeFileSync(this.path(name), content);
    return this.path(name);
  }

  /** Makes a directory and returns its path. */
  directory(name: string): string {
    mkdirSync(this.path(name));
    return this.path(name);
  }
}

/** A named case: passes when it does not throw. */
export type PosixCase = (place: Place) => void;
export type PosixCases = Readonly<Record<string, PosixCase>>;
