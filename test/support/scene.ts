import { checkRegion } from '../../src/check/region.js';
import type { Scan } from '../../src/check/scan.js';
import { mkfs, openEngine } from '../../src/engine/index.js';
import { S_IFCHR, S_IFDIR, S_IFLNK, S_IFREG } from '../../src/engine/mode.js';
import { BLOCK_SIZE, type Ino, ROOT_INO } from '../../src/types.js';
import { FakeClock, HeapMedia } from './mem-context.js';

export const SCENE_BLOCKS = 2048;

const name = (text: string): Uint8Array => Buffer.from(text);
const withMode = (mode: number) => ({ mode, uid: 1, gid: 2 });

interface Scene {
  media: HeapMedia;
  scan: Scan;
  dir: Ino;
  file: Ino;
  clone: Ino;
  link: Ino;
  device: Ino;
  orphan: Ino;
}

/** One of everything; inode, dirent, parent, bmap and rmap are two levels high. */
export function buildScene(): Scene {
  const media = new HeapMedia(SCENE_BLOCKS, 200);
  const clock = new FakeClock();
  mkfs(media, { label: 'scene', clock, uid: 0, gid: 0 });
  const engine = openEngine(media, { clock });
  const dir = engine.create(ROOT_INO, name('dir'), withMode(S_IFDIR | 0o755));
  const file = engine.create(dir, name('file'), withMode(S_IFREG | 0o644));
  const clone = engine.create(dir, name('clone'), withMode(S_IFREG | 0o644));
  const link = engine.create(dir, name('link'), {
    ...withMode(S_IFLNK | 0o777),
    target: name('t'.repeat(3000)),
  });
  const device = engine.create(dir, name('device'), { ...withMode(S_IFCHR | 0o600), rdev: 0x103 });
  engine.link(file, ROOT_INO, name('second name'));
  engine.setxattr(file, name('user.long'), new Uint8Array(5000).fill(7), 0);
  for (let i = 0; i < 260; i++) engine.create(dir, name(`many ${i}`), withMode(S_IFREG | 0o600));
  const block = Buffer.alloc(BLOCK_SIZE, 1);
  for (let i = 0; i < 250; i++) engine.write(file, 2 * i * BLOCK_SIZE, block, BLOCK_SIZE, false);
  engine.cloneRange(file, 0, clone, 0, 40 * BLOCK_SIZE);
  engine.fallocate(clone, 0, 60 * BLOCK_SIZE, 5 * BLOCK_SIZE);
  const orphan = engine.createUnlinked(withMode(S_IFREG | 0o600));
  engine.poison((SCENE_BLOCKS - 9) * BLOCK_SIZE, 2 * BLOCK_SIZE, false);
  engine.commit();
  engine.setattr(dir, { mode: S_IFDIR | 0o750 });
  engine.close();
  const { problems, scan } = checkRegion(media);
  if (scan === undefined || problems.length > 0) throw new Error(JSON.stringify(problems));
  return { media, scan, dir, file, clone, link, device, orphan };
}
