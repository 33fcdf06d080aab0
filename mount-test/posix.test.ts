import { chmodSync, mkdirSync } from 'node:fs';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { POSIX_CASES } from './posix/index.js';
import { Place } from './posix/place.js';
import { Mounted } from './support/harness.js';
import { type Reference, references } from './support/reference.js';

/** Cases that a reference is known to fail, with the reason: there the other reference is the judge. */
const NOT_ON: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  tmpfs: {
    'mmap: bytes past the end within the last page are zero and are not written':
      'tmpfs keeps what was stored past the end in the page and shows it when the file grows',
  },
  XFS: {
    'symlink: a target of 4095 bytes': 'XFS ends at 1024 (XFS_SYMLINK_MAXLEN)',
  },
};

/** Runs every case in a directory of its own below `root`. */
function runAll(name: string, root: () => string): void {
  let number = 0;
  const cases = Object.entries(POSIX_CASES).filter(([title]) => NOT_ON[name]?.[title] === undefined);
  it.each(cases)('%s', (_, posixCase) => {
    const dir = `${root()}/case-${++number}`;
    mkdirSync(dir);
    posixCase(new Place(dir));
  });
}

for (const [name, options] of [
  ['rmapfs', ['allow_other']],
  ['rmapfs cache=none', ['allow_other', 'cache=none']],
] as const)
  describe(name, () => {
    let mounted: Mounted;
    beforeAll(() => {
      mounted = new Mounted({ size: '256M', options: [...options] });
      mounted.mkfs();
      mounted.mount();
      chmodSync(mounted.dir, 0o755);
    });
    afterAll(async () => {
      await mounted.umount();
      await mounted.cleanUp();
    });
    runAll(name, () => mounted.dir);
  });

for (const [name, mount] of Object.entries(references()))
  describe(name, () => {
    let reference: Reference;
    beforeAll(() => {
      reference = mount();
      chmodSync(reference.dir, 0o755);
    });
    afterAll(() => reference.remove());
    runAll(name, () => reference.dir);
  });
