import type { FileOwnerDocument, OwnerDocument, VictimDocument } from '../control/schema.js';
import type { Column } from './output.js';

/** The owner in a word: a path, or what it is. */
export function ownerText(owner: OwnerDocument): string {
  switch (owner.kind) {
    case 'file':
      return pathsText(owner);
    case 'metadata':
      return `[metadata: ${owner.tree}]`;
    default:
      return `[${owner.kind}]`;
  }
}

function pathsText(owner: FileOwnerDocument): string {
  if (owner.paths.length === 0) return '[unlinked]';
  return owner.paths.join(', ');
}

const ofFile = (text: (owner: FileOwnerDocument) => string) => (owner: OwnerDocument) =>
  owner.kind === 'file' ? text(owner) : '-';

export const OWNER_COLUMNS: readonly Column<OwnerDocument>[] = [
  { title: 'PHYSICAL', align: 'right', width: 16, text: (owner) => `${owner.physical}` },
  { title: 'LENGTH', align: 'right', width: 16, text: (owner) => `${owner.length}` },
  { title: 'INODE', align: 'right', width: 10, text: ofFile((owner) => `${owner.ino}`) },
  { title: 'FILE OFFSET', align: 'right', width: 16, text: ofFile((owner) => `${owner.fileOffset}`) },
  { title: 'SHARED BY', align: 'right', text: ofFile((owner) => `${owner.shareCount}`) },
  { title: 'OPEN', align: 'left', text: ofFile((owner) => (owner.open ? 'yes' : 'no')) },
  { title: 'OWNER', align: 'left', text: ownerText },
];

export const VICTIM_COLUMNS: readonly Column<VictimDocument>[] = [
  { title: 'PID', align: 'right', text: (victim) => `${victim.pid}` },
  { title: 'TID', align: 'right', text: (victim) => `${victim.tid}` },
  { title: 'COMMAND', align: 'left', text: (victim) => victim.comm },
  { title: 'INODE', align: 'right', text: (victim) => `${victim.ino}` },
  { title: 'ADDRESS', align: 'left', text: (victim) => victim.address },
  { title: 'LSB', align: 'right', text: (victim) => `${victim.lsb}` },
  { title: 'SIGNAL', align: 'left', text: (victim) => `${victim.signal}` },
  { title: 'CODE', align: 'left', text: (victim) => victim.code },
  { title: 'MEANS', align: 'left', text: (victim) => victim.means },
  { title: 'RESULT', align: 'left', text: (victim) => victim.result },
];
