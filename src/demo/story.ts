import fs from 'node:fs';
import type { ExtentEntry } from '../cli/extents.js';
import type { FsmapEntry } from '../cli/fsmap.js';
import { type Column, formatTable, humanSize } from '../cli/output.js';
import { OWNER_COLUMNS, ownerText, VICTIM_COLUMNS } from '../cli/owner-text.js';
import type { BadBlockDocument, InfoDocument, OwnerDocument, PoisonDocument } from '../control/schema.js';
import { BLOCK_SIZE } from '../types.js';
import { DemoFailure, observe, type Stage } from './stage.js';
import type { Account, VictimProcess } from './victim.js';

/** The scene: what the steps share. */
export interface Scene {
  stage: Stage;
  region: string;
  mountpoint: string;
  /** The file and its copy. */
  data: string;
  copy: string;
  /** What was written to the file, kept outside the mount. */
  original: Buffer;
}

/** Where the block that will fail is: in both files, and in the region. */
export interface FailingBlock {
  fileOffset: number;
  physical: number;
}

/** "BUS_MCEERR_AO" and its neighbours, from <asm-generic/siginfo.h>. */
const SIGBUS_CODES: Record<number, string> = {
  0: 'SI_USER',
  1: 'BUS_ADRALN',
  2: 'BUS_ADRERR',
  3: 'BUS_OBJERR',
  4: 'BUS_MCEERR_AR',
  5: 'BUS_MCEERR_AO',
};

/** Most blocks that the records of a copy may need: a group of metadata nodes. Its data would need thousands. */
const METADATA_SLACK_BLOCKS = 64;

export async function shareBlocks(scene: Scene): Promise<void> {
  const { stage, data, copy, original } = scene;
  const before = await stage.json<InfoDocument>('info', scene.mountpoint);
  await stage.run('cp', data, copy);
  const after = await stage.json<InfoDocument>('info', scene.mountpoint);
  const used = before.blocks.free - after.blocks.free;
  const needed = original.length / BLOCK_SIZE;
  stage.say(
    `free blocks: ${before.blocks.free} before, ${after.blocks.free} after; ` +
      `shared blocks: ${before.blocks.shared} before, ${after.blocks.shared} after`,
  );
  observe(
    used <= METADATA_SLACK_BLOCKS,
    `the copy took ${used} blocks: it shares nothing (is this cp older than 9.0?)`,
  );
  observe(after.blocks.shared === needed, `${after.blocks.shared} blocks are shared, not ${needed}`);
  observe(fs.readFileSync(copy).equals(original), 'the copy has other bytes than the file');
  stage.say(`the copy of ${humanSize(original.length)} has the same bytes and took ${used} blocks`);
}

/** Both files' extents are the same, and the map of the region names both as owners. */
export async function showOwners(scene: Scene): Promise<FailingBlock> {
  const { stage, data, copy } = scene;
  const ofData = await stage.json<ExtentEntry[]>('extents', data);
  const ofCopy = await stage.json<ExtentEntry[]>('extents', copy);
  const columns: Column<ExtentEntry>[] = [
    { title: 'FILE OFFSET', align: 'right', text: (extent) => `${extent.fileOffset}` },
    { title: 'PHYSICAL', align: 'right', text: (extent) => `${extent.physical}` },
    { title: 'LENGTH', align: 'right', text: (extent) => `${extent.length}` },
    { title: 'FLAGS', align: 'left', text: (extent) => extent.flags.join(',') },
  ];
  stage.say(
    `extents of the file:\n${formatTable(columns, ofData)}extents of the copy:\n${formatTable(columns, ofCopy)}`,
  );
  observe(JSON.stringify(ofData) === JSON.stringify(ofCopy), 'the two files own different blocks');
  observe(
    ofData.every((extent) => extent.flags.includes('shared')),
    'an extent is not shared',
  );
  const fileOffset = Math.floor(scene.original.length / BLOCK_SIZE / 2 + 5) * BLOCK_SIZE;
  const extent = ofData.find((e) => e.fileOffset <= fileOffset && fileOffset < e.fileOffset + e.length);
  observe(extent !== undefined, `the file has no extent at offset ${fileOffset}`);
  const physical = extent.physical + fileOffset - extent.fileOffset;
  await showMap(scene, physical);
  return { fileOffset, physical };
}

async function showMap(scene: Scene, physical: number): Promise<void> {
  const { stage, mountpoint } = scene;
  const map = await stage.json<FsmapEntry[]>('fsmap', mountpoint);
  const here = map.filter((entry) => entry.physical <= physical && physical < entry.physical + entry.length);
  stage.say(`the map has ${map.length} lines; those that hold the byte ${physical}:`);
  const columns: Column<FsmapEntry>[] = [
    { title: 'PHYSICAL', align: 'right', text: (entry) => `${entry.physical}` },
    { title: 'LENGTH', align: 'right', text: (entry) => `${entry.length}` },
    { title: 'FLAGS', align: 'left', text: (entry) => entry.flags.join(',') },
    { title: 'OWNER', align: 'left', text: ({ owner }) => ownerText(owner) },
  ];
  stage.say(formatTable(columns, here));
  observe(here.length === 2, `the map has ${here.length} owners for one shared block, not 2`);
  const range = ['--offset', `${physical}`, '--length', `${BLOCK_SIZE}`];
  const owners = await stage.json<OwnerDocument[]>('owners', mountpoint, ...range);
  requireBothFiles(owners);
}

function requireBothFiles(owners: readonly OwnerDocument[]): void {
  const paths = owners.flatMap((owner) => (owner.kind === 'file' ? owner.paths : [])).sort();
  observe(
    paths.join() === '/copy,/data',
    `the owners are ${paths.join(', ') || 'nobody'}, not /copy and /data`,
  );
}

/** The cast: two processes that map, one that only holds the file open. */
export interface Cast {
  mapsData: VictimProcess;
  mapsCopy: VictimProcess;
  holdsOpen: VictimProcess;
}

export async function poisonBlock(scene: Scene, block: FailingBlock): Promise<PoisonDocument> {
  const { stage, mountpoint } = scene;
  const range = ['--offset', `${block.physical}`, '--length', `${BLOCK_SIZE}`];
  const report = await stage.json<PoisonDocument>('poison', mountpoint, ...range);
  stage.say(
    `owners:\n${formatTable(OWNER_COLUMNS, report.owners)}victims:\n${formatTable(VICTIM_COLUMNS, report.victims)}`,
  );
  requireBothFiles(report.owners);
  observe(!report.shutdown, 'the filesystem has shut down');
  const bad = await stage.json<BadBlockDocument[]>('badblocks', mountpoint);
  const listed = bad.map((entry) => `${entry.physical}+${entry.length}`).join(', ');
  observe(listed === `${block.physical}+${BLOCK_SIZE}`, `the bad blocks are ${listed || 'none'}`);
  return report;
}

interface Comparison {
  process: VictimProcess;
  reported: string;
  said: string;
}

const accountText = ({ code, address, lsb }: Account): string =>
  `SIGBUS ${SIGBUS_CODES[code] ?? code} at 0x${address.toString(16)} lsb ${lsb}`;

/** Each process's own account of its siginfo, beside the report. The third was not told, and lives. */
export async function compareAccounts(
  scene: Scene,
  cast: Cast,
  block: FailingBlock,
  report: PoisonDocument,
): Promise<void> {
  const rows: Comparison[] = [];
  for (const process of [cast.mapsData, cast.mapsCopy, cast.holdsOpen]) {
    const reported = report.victims
      .filter((victim) => victim.pid === process.pid)
      .map((victim) => `${victim.signal} ${victim.code} at ${victim.address} lsb ${victim.lsb}`);
    const said = (await process.accounts(reported.length)).map(accountText);
    rows.push({ process, reported: reported.join('; ') || 'nothing', said: said.join('; ') || 'nothing' });
  }
  const columns: Column<Comparison>[] = [
    { title: 'PID', align: 'right', text: ({ process }) => `${process.pid}` },
    { title: 'PROCESS', align: 'left', text: ({ process }) => process.name },
    { title: 'THE REPORT SAYS', align: 'left', text: ({ reported }) => reported },
    { title: 'THE PROCESS SAYS', align: 'left', text: ({ said }) => said },
    { title: 'ALIVE', align: 'left', text: ({ process }) => (process.alive ? 'yes' : 'no') },
  ];
  scene.stage.say(formatTable(columns, rows));
  for (const { process, reported, said } of rows) {
    const mapped = process.address !== 0;
    const address = (process.address + block.fileOffset).toString(16);
    const expected = mapped ? `SIGBUS BUS_MCEERR_AO at 0x${address} lsb 12` : 'nothing';
    observe(said === expected, `the process that ${process.name} says "${said}", not "${expected}"`);
    observe(reported === expected, `the report says "${reported}" of the process that ${process.name}`);
    observe(process.alive, `the process that ${process.name} has died`);
  }
  observe(report.victims.length === 2, `the report has ${report.victims.length} victims, not 2`);
}

/** Reads one block of a file; the errno's name when that fails. */
function readBlock(file: string, offset: number): Buffer | string {
  const fd = fs.openSync(file, 'r');
  try {
    const bytes = Buffer.alloc(BLOCK_SIZE);
    const got = fs.readSync(fd, bytes, 0, BLOCK_SIZE, offset);
    return bytes.subarray(0, got);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    return code;
  } finally {
    fs.closeSync(fd);
  }
}

/** What reading gives: "EIO", "the right bytes", or what else. */
function readResult(scene: Scene, file: string, offset: number): string {
  const found = readBlock(file, offset);
  if (typeof found === 'string') return found;
  const wanted = scene.original.subarray(offset, offset + BLOCK_SIZE);
  return found.equals(wanted) ? 'the right bytes' : 'wrong bytes';
}

/** Reads the block and its two neighbours in both files. */
export function readAround(
  scene: Scene,
  block: FailingBlock,
  expected: Record<'data' | 'copy', string>,
): void {
  const { stage } = scene;
  for (const name of ['data', 'copy'] as const) {
    for (const offset of [-BLOCK_SIZE, 0, BLOCK_SIZE].map((distance) => block.fileOffset + distance)) {
      const wanted = offset === block.fileOffset ? expected[name] : 'the right bytes';
      const found = readResult(scene, scene[name], offset);
      stage.say(`read 4096 bytes of /${name} at ${offset}: ${found}`);
      observe(found === wanted, `a read of /${name} at ${offset} gives ${found}, not ${wanted}`);
    }
  }
}

/** A write(2) of the whole block with what it had before. */
function rewriteBlock(scene: Scene, file: string, offset: number): void {
  const fd = fs.openSync(file, 'r+');
  try {
    const written = fs.writeSync(fd, scene.original, offset, BLOCK_SIZE, offset);
    scene.stage.say(`write(2) of the whole block to ${file}: ${written} bytes`);
    observe(written === BLOCK_SIZE, `only ${written} bytes were written to ${file}`);
    fs.fsyncSync(fd);
  } catch (error) {
    if (error instanceof DemoFailure) throw error;
    throw new DemoFailure(`a write of the whole block to ${file} failed: ${(error as Error).message}`);
  } finally {
    fs.closeSync(fd);
  }
}

async function physicalOf(scene: Scene, file: string, fileOffset: number): Promise<number> {
  const extents = await scene.stage.json<ExtentEntry[]>('extents', file);
  const extent = extents.find((e) => e.fileOffset <= fileOffset && fileOffset < e.fileOffset + e.length);
  observe(extent !== undefined, `${file} has no extent at offset ${fileOffset}`);
  return extent.physical + fileOffset - extent.fileOffset;
}

async function badBytes(scene: Scene): Promise<number> {
  const bad = await scene.stage.json<BadBlockDocument[]>('badblocks', scene.mountpoint);
  return bad.reduce((sum, { length }) => sum + length, 0);
}

/** The copy lets go of the bad block by getting a new one; then the last owner's write heals it in place. */
export async function heal(scene: Scene, block: FailingBlock): Promise<void> {
  const { stage, data, copy } = scene;
  rewriteBlock(scene, copy, block.fileOffset);
  const moved = await physicalOf(scene, copy, block.fileOffset);
  stage.say(`the copy's block is at ${moved} now, the file's still at ${block.physical}`);
  observe(moved !== block.physical, 'the copy still has the bad block');
  readAround(scene, block, { data: 'EIO', copy: 'the right bytes' });
  const left = await badBytes(scene);
  observe(left === BLOCK_SIZE, `${left} bytes are bad while the file still owns the block`);

  rewriteBlock(scene, data, block.fileOffset);
  const kept = await physicalOf(scene, data, block.fileOffset);
  stage.say(`the file's block is at ${kept}`);
  observe(kept === block.physical, 'the last owner got another block instead of healing its own');
  const healed = await badBytes(scene);
  stage.say(`bad bytes left: ${healed}`);
  observe(healed === 0, `${healed} bytes are still bad`);
  readAround(scene, block, { data: 'the right bytes', copy: 'the right bytes' });
}
