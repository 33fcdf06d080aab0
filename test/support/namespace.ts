import type { InodeAttr, NewInode } from '../../src/engine/api.js';
import type { EngineContext } from '../../src/engine/context.js';
import type { NameHash } from '../../src/engine/hash.js';
import { S_IFDIR, S_IFLNK, S_IFREG } from '../../src/engine/mode.js';
import { NamespaceOps } from '../../src/engine/namespace.js';
import type { Ino } from '../../src/types.js';
import { emptyAttr } from '../../src/vfs/context.js';

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

export const FILE: NewInode = { mode: S_IFREG | 0o644, uid: 1000, gid: 100 };
export const DIRECTORY: NewInode = { mode: S_IFDIR | 0o755, uid: 1000, gid: 100 };
export const symlinkTo = (target: string): NewInode => ({
  mode: S_IFLNK | 0o777,
  uid: 1000,
  gid: 100,
  target: bytes(target),
});

export const attrOf = (ns: NamespaceOps, ino: Ino): InodeAttr => ns.getattr(ino, emptyAttr());

/** A namespace over existing trees: what a mount does. Data blocks do not exist here. */
export const mountNamespace = (ctx: EngineContext, hash?: NameHash): NamespaceOps =>
  new NamespaceOps(ctx, { freeData: () => {} }, hash);

/** All entries in cookie order. */
export function listDir(
  ns: NamespaceOps,
  dir: Ino,
): { name: string; ino: Ino; type: number; cookie: number }[] {
  const entries: { name: string; ino: Ino; type: number; cookie: number }[] = [];
  ns.readdir(dir, 0, (name, ino, type, cookie) => {
    entries.push({ name: Buffer.from(name).toString('utf8'), ino, type, cookie });
    return true;
  });
  return entries;
}

/** The errno name of what `run` throws, or 'ok'. Errors without an errno pass through. */
export function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
    throw error;
  }
  return 'ok';
}
