import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { cli, type Mounted, withMount } from './support/harness.js';
import { nodeOf, poison } from './support/metadata.js';
import { BLOCK } from './support/poison.js';
import { tool } from './support/run.js';

const SIZE = 3 * BLOCK;

/** Files with contents, an attribute, a directory with a file in it. Returns the contents by inode. */
function populate(m: Mounted): Map<number, Buffer> {
  mkdirSync(m.path('d'));
  for (const name of ['a', 'b', 'd/c']) writeFileSync(m.path(name), Buffer.alloc(SIZE, name.at(-1)));
  tool('setfattr', ['-n', 'user.x', '-v', 'y', m.path('a')]);
  return new Map(['a', 'b', 'd/c'].map((name) => [statSync(m.path(name)).ino, readFileSync(m.path(name))]));
}

/** Every file of the mount by its inode. */
function filesOf(m: Mounted, below = ''): Map<number, string> {
  const found = new Map<number, string>();
  for (const entry of readdirSync(m.path(below), { withFileTypes: true })) {
    const path = below === '' ? entry.name : `${below}/${entry.name}`;
    if (entry.isDirectory()) for (const [ino, file] of filesOf(m, path)) found.set(ino, file);
    else found.set(statSync(m.path(path)).ino, path);
  }
  return found;
}

function expectRefused(m: Mounted): void {
  const busy = cli('fsck', '--repair', m.region);
  expect(busy).toMatchObject({ status: 8, stdout: '' });
  expect(busy.stderr).toMatch(/^rmapfs: cannot repair .* in use by the mount on/);
}

function expectDryRun(m: Mounted): void {
  expect(cli('fsck', m.region).status).toBe(1);
  const dry = cli('fsck', '--repair', '-n', m.region);
  expect(dry).toMatchObject({ status: 4, stderr: '' });
  expect(dry.stdout).toMatch(/it would be repaired in \d+ steps?; nothing was changed\n$/);
}

describe('fsck --repair after a memory failure of metadata', () => {
  it.each(['inode', 'dirent', 'xattr'])(
    'a node of the %s tree: mounts again, and no contents are lost',
    (tree) =>
      withMount({ size: '16M' }, async (m) => {
        const contents = populate(m);
        const physical = nodeOf(m, tree);
        expect(poison(m, physical)).toMatchObject({ shutdown: true });
        // Once is enough for what does not depend on the tree.
        const isFirst = tree === 'inode';
        if (isFirst) expectRefused(m);
        await m.umount();

        if (isFirst) expectDryRun(m);
        const done = cli('fsck', '--repair', '--json', m.region);
        expect(done.status).toBe(1);
        expect(JSON.parse(done.stdout)).toMatchObject({ clean: true, dryRun: false, left: [] });
        if (isFirst)
          expect(cli('fsck', '--repair', m.region)).toMatchObject({
            status: 0,
            stdout: `${m.region}: clean\n`,
          });

        m.mount();
        const files = filesOf(m);
        for (const [ino, bytes] of contents) {
          const path = files.get(ino) ?? `inode ${ino} is gone`;
          expect([path, readFileSync(m.path(path)).equals(bytes)]).toEqual([path, true]);
        }
        expect([...files.values()].sort()).toEqual(
          tree === 'xattr'
            ? ['a', 'b', 'd/c']
            : [...contents.keys()].map((ino) => expectedPlace(tree, ino, files)).sort(),
        );
        writeFileSync(m.path('new'), Buffer.alloc(SIZE, 1));
        expect(cli('badblocks', m.dir, '--json').json()).toMatchObject([{ physical, length: BLOCK }]);
      }),
  );
});

/** Without their names, or without their inodes, files are in lost+found. */
function expectedPlace(tree: string, ino: number, files: ReadonlyMap<number, string>): string {
  const path = files.get(ino) ?? '';
  expect(path).toMatch(tree === 'dirent' ? new RegExp(`^lost\\+found/${ino}$`) : /^lost\+found\/\d+$/);
  return path;
}
