import { writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import type { ControlClient } from '../control/client.js';
import { OwnerNames } from '../control/owner-names.js';
import type { CliEnvironment } from './environment.js';
import { explain } from './errors.js';
import { drawRegion } from './map-picture.js';
import { mapSvg } from './map-svg.js';
import { HEAD_LINES, MARGIN_COLUMNS, mapText } from './map-text.js';
import { onMount } from './on-mount.js';
import { humanSize } from './output.js';

interface Options {
  legend?: boolean;
  color: boolean;
  svg?: string;
}

/** Rows and columns of cells that a picture has at least, and at most. */
const COLUMNS = { min: 16, max: 512 } as const;
const ROWS = { min: 4, max: 256 } as const;

const EXAMPLE = `
Examples:
  $ rmapfs map /mnt/pmem --legend
  $ rmapfs map /mnt/pmem --svg map.svg

A cell that holds several things shows the most urgent: bad, latent, superblock, shared, then the largest.`;

export function registerMap(program: Command, env: CliEnvironment): void {
  program
    .command('map')
    .description('draw the region: owners, shared, free, bad, metadata')
    .argument('<dir>', 'the mount point or a path below it')
    .option('--legend', 'say what the letters stand for')
    .option('--no-color', 'letters only')
    .option('--svg <file>', 'write the picture, with its legend, to a file instead')
    .addHelpText('after', EXAMPLE)
    .action((dir: string, options: Options) => runMap(env, dir, options));
}

const within = (limits: { min: number; max: number }, value: number): number =>
  Math.max(limits.min, Math.min(limits.max, value));

async function runMap(env: CliEnvironment, dir: string, options: Options): Promise<void> {
  const { window } = env;
  const columns = within(COLUMNS, window.columns - MARGIN_COLUMNS);
  const rows = within(ROWS, window.rows - HEAD_LINES - 2);
  const task = { path: dir, asked: `draw ${dir}` };
  await onMount(env, task, async (client) => {
    const info = client.info();
    const { size, blockSize } = info;
    const regionParts = { size, blockSize, fsmap: client.fsmap(), bad: client.badBlocks() };
    const picture = drawRegion(regionParts, columns, rows);
    const name = namesOf(client);
    const title = `${info.label || dir}: ${humanSize(size)}, ${info.blocks.free} of ${info.blocks.total} blocks free`;
    if (options.svg !== undefined) {
      writePicture(options.svg, mapSvg(picture, title, name));
      return;
    }
    const style = { color: options.color && window.color, legend: options.legend === true, name };
    const scale = `${title}, ${humanSize(picture.cellBytes)} a cell`;
    await env.write(mapText(picture, scale, style));
  });
}

function writePicture(file: string, text: string): void {
  try {
    writeFileSync(file, text);
  } catch (error) {
    throw explain(error, `write ${file}`, file);
  }
}

function namesOf(client: ControlClient): (ino: number) => string {
  const names = new OwnerNames(client);
  return (ino) => names.of(ino).paths[0] ?? `inode ${ino}, unlinked`;
}
