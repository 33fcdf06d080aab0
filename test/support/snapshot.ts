import { crc32 } from 'node:zlib';
import type { RegionEngine } from '../../src/engine/index.js';
import { isDirectory, isRegular, isSymlink } from '../../src/engine/mode.js';
import { newReadPlan } from '../../src/engine/read.js';
import type { Media } from '../../src/media/media.js';
import { memoryMedia } from '../../src/media/memory.js';
import { asPhys, BLOCK_SIZE, type Ino, ROOT_INO } from '../../src/types.js';
import { emptyAttr } from '../../src/vfs/context.js';
import { planned } from './data-env.js';

/** What a path names: its inode, and a text that differs when anything of that differs but for the access time. */
export interface Seen {
  readonly ino: number;
  readonly text: string;
}

/** All paths of a filesystem with what they name: attributes, extended attributes, contents. */
export function snapshot(engine: RegionEngine): Map<string, Seen> {
  const seen = new Map<string, Seen>();
  const visit = (path: string, ino: Ino): void => {
    seen.set(path === '' ? '/' : path, { ino, text: describe(engine, ino) });
    if (!isDirectory(engine.getattr(ino, emptyAttr()).mode)) return;
    const entries: [string, Ino][] = [];
    engine.readdir(ino, 0, (name, child) => entries.push([Buffer.from(name).toString('utf8'), child]) > 0);
    for (const [name, child] of entries) visit(`${path}/${name}`, child);
  };
  visit('', ROOT_INO);
  return seen;
}

function describe(engine: RegionEngine, ino: Ino): string {
  const { mode, nlink, uid, gid, rdev, size, blocks, flags, mtime } = engine.getattr(ino, emptyAttr());
  const attributes = engine
    .listxattr(ino)
    .map((name) => `${Buffer.from(name)}=${crc32(engine.getxattr(ino, name) ?? Buffer.alloc(0))}`)
    .sort();
  // The links of a directory are those below it: lost+found may be new.
  const links = isDirectory(mode) ? '' : nlink;
  const contents = isRegular(mode) ? contentsOf(engine, ino, size) : '';
  const target = isSymlink(mode) ? crc32(engine.readlink(ino)) : '';
  return [
    mode.toString(8),
    links,
    uid,
    gid,
    rdev,
    size,
    blocks,
    flags,
    mtime.sec,
    attributes,
    contents,
    target,
  ].join(' ');
}

function contentsOf(engine: RegionEngine, ino: Ino, size: number): string {
  const plan = newReadPlan();
  let sum = 0;
  let text = '';
  const step = 64 * BLOCK_SIZE;
  for (let at = 0; at < Math.min(size, 16 * 1024 * BLOCK_SIZE); at += step) {
    try {
      engine.read(ino, at, Math.min(step, size - at), false, plan);
      sum = crc32(planned(engine.readSources, plan).subarray(0, plan.bytes), sum);
    } catch (error) {
      if (!(error instanceof Error) || !('code' in error) || error.code !== 'EIO') throw error;
      text += ` EIO at ${at}`;
    }
  }
  return `${sum}${text}`;
}

/** All blocks of a medium, as an image to make others from. */
export function imageOf(media: Media): Buffer {
  const image = Buffer.alloc(media.blocks * BLOCK_SIZE);
  for (let block = 0; block < media.blocks; block++)
    image.set(media.bytes(asPhys(block), 1), block * BLOCK_SIZE);
  return image;
}

export const mediumOf = (image: Uint8Array): Media => memoryMedia(image.length / BLOCK_SIZE, { image });
