import { mkfs, openEngine, type RegionEngine } from '../../src/engine/index.js';
import { S_IFDIR, S_IFREG } from '../../src/engine/mode.js';
import { memoryMedia } from '../../src/media/memory.js';
import { asPhys, BLOCK_SIZE, ROOT_INO } from '../../src/types.js';
import { FakeClock } from './mem-context.js';

export const SMALL_BLOCKS = 256;
/** Files that share a few blocks: so many that bmap and rmap have internal nodes. */
const CLONES = 260;
const KNOWN_BAD = 240;
const LATENT = 248;

const clock = new FakeClock();
const name = (text: string): Uint8Array => Buffer.from(text);
const file = { mode: S_IFREG | 0o644, uid: 0, gid: 0 };

function populate(engine: RegionEngine): void {
  const dir = engine.create(ROOT_INO, name('d'), { ...file, mode: S_IFDIR | 0o755 });
  const source = engine.create(dir, name('source'), file);
  engine.write(source, 0, Buffer.alloc(20 * BLOCK_SIZE, 0x51), 20 * BLOCK_SIZE, false);
  for (let i = 0; i < CLONES; i++) {
    const clone = engine.create(dir, name(`clone ${i}`), file);
    engine.cloneRange(source, (i % 7) * BLOCK_SIZE, clone, (i % 3) * BLOCK_SIZE, BLOCK_SIZE);
  }
  const sparse = engine.create(ROOT_INO, name('sparse'), file);
  for (let at = 0; at < 40; at += 2) {
    engine.write(sparse, at * BLOCK_SIZE, Buffer.alloc(BLOCK_SIZE, 1 + at), BLOCK_SIZE, false);
  }
  engine.fallocate(sparse, 0, 60 * BLOCK_SIZE, 8 * BLOCK_SIZE);
  engine.setxattr(sparse, name('user.a'), Buffer.alloc(3000, 7), 0);
  engine.poison(LATENT * BLOCK_SIZE, BLOCK_SIZE, true);
  engine.poison(KNOWN_BAD * BLOCK_SIZE, BLOCK_SIZE, false);
}

/** A region with nodes of each tree, as an image. */
export function makeSmallImage(): Buffer {
  const media = memoryMedia(SMALL_BLOCKS);
  mkfs(media, { label: 'x', clock, uid: 0, gid: 0 });
  const engine = openEngine(media, { clock });
  populate(engine);
  engine.commit();
  return Buffer.from(media.bytes(asPhys(0), SMALL_BLOCKS));
}
