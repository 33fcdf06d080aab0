import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasTool, run, tool } from './run.js';

/** A kernel filesystem beside ours, mounted. */
export interface Reference {
  dir: string;
  remove(): void;
}

function mountTmpfs(): Reference {
  const dir = mkdtempSync('/dev/shm/rmapfs-reference-');
  tool('mount', ['-t', 'tmpfs', 'rmapfs-reference', dir]);
  return {
    dir,
    remove: () => {
      run('umount', ['-l', dir]);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function mountXfs(): Reference {
  const base = mkdtempSync(join(tmpdir(), 'rmapfs-reference-'));
  tool('chmod', ['755', base]);
  const [image, dir] = [join(base, 'image'), join(base, 'mnt')];
  writeFileSync(image, '');
  truncateSync(image, 512 * 1024 * 1024);
  mkdirSync(dir);
  const remove = () => {
    run('umount', ['-l', dir]);
    rmSync(base, { recursive: true, force: true });
  };
  try {
    tool('mkfs.xfs', ['-q', '-m', 'reflink=1,rmapbt=1', image]);
    tool('mount', ['-o', 'loop', image, dir]);
  } catch (error) {
    remove();
    throw error;
  }
  return { dir, remove };
}

/** Why this machine has no XFS, or undefined when it has. */
function whyNoXfs(): string | undefined {
  if (!hasTool('mkfs.xfs')) return 'mkfs.xfs is not installed';
  const known = () => /\txfs$/m.test(readFileSync('/proc/filesystems', 'utf8'));
  if (known() || (hasTool('modprobe') && run('modprobe', ['xfs']).status === 0 && known())) return undefined;
  return 'this kernel has no XFS';
}

/** How to mount tmpfs, and XFS on a loop device where the kernel has it; otherwise says why not. */
export function references(): Readonly<Record<string, () => Reference>> {
  const reason = whyNoXfs();
  if (reason === undefined) return { tmpfs: mountTmpfs, XFS: mountXfs };
  process.stderr.write(`no comparison with XFS: ${reason}\n`);
  return { tmpfs: mountTmpfs };
}
