import type { Command } from 'commander';
import type { ControlClient } from '../control/client.js';
import { POISON_FLAG } from '../control/protocol.js';
import { bytesText, requireWholeBlocks } from './arguments.js';
import type { Findings } from './errors.js';
import { type MountTask, outsideDevice } from './on-mount.js';

/** The range of `poison` and `unpoison`: physical below DIR, or by file offset with --file. */
export interface TargetOptions {
  file?: string;
  offset: number;
  length: number;
}

export interface Target {
  task: MountTask;
  /** POISON_FLAG.file or 0. */
  flags: number;
}

const AFTER_SHUTDOWN = 'unmount it, run rmapfs fsck --repair on the region, and mount it again';

/** Exactly one of DIR and --file must be there (wrong usage otherwise), and whole blocks. */
export function poisonTarget(
  command: Command,
  verb: string,
  dir: string | undefined,
  options: TargetOptions,
): Target {
  const { file, offset, length } = options;
  const path = file ?? dir;
  if (path === undefined || (file !== undefined && dir !== undefined)) {
    return command.error('error: name either a DIR for a physical range or a file with --file', {
      code: 'rmapfs.target',
    });
  }
  const asked = `${verb} ${bytesText(length)} at offset ${offset} of ${path}`;
  requireWholeBlocks(asked, offset, length);
  const findings = (client: ControlClient): Findings => {
    if (client.info().shutdown) return { EIO: `the filesystem on ${path} has shut down; ${AFTER_SHUTDOWN}` };
    return file === undefined ? outsideDevice(client) : fileFindings(client, file, offset, length);
  };
  return { task: { path, asked, findings }, flags: file === undefined ? 0 : POISON_FLAG.file };
}

/** Why a range of a file was refused: most often there is no block at some offset. */
function fileFindings(client: ControlClient, file: string, offset: number, length: number): Findings {
  const hole = firstHole(client, offset, length);
  if (hole === null) return {};
  const text = `${file} has no block at offset ${hole} (a hole or beyond its end); see "rmapfs extents ${file}"`;
  return { ENXIO: text, ENODATA: text, EINVAL: text, EOVERFLOW: text, EISDIR: text };
}

/** The first offset of the range that has no block, or null. */
function firstHole(client: ControlClient, offset: number, length: number): number | null {
  let covered = offset;
  for (const page of client.extents()) {
    for (const extent of page) {
      if (extent.fileOffset > covered) return covered;
      covered = Math.max(covered, extent.fileOffset + extent.length);
      if (covered >= offset + length) return null;
    }
  }
  return covered;
}
