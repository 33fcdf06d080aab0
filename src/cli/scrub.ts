import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { ControlClient } from '../control/client.js';
import type { DamagedDocument, PoisonDocument } from '../control/schema.js';
import { SCRUB_STEP_MAX_BYTES } from '../limits.js';
import { BLOCK_SIZE } from '../types.js';
import { jsonOption, parseSize } from './arguments.js';
import type { CliEnvironment } from './environment.js';
import { CommandStatus } from './errors.js';
import { onMount } from './on-mount.js';
import { counted, formatTable, printJson } from './output.js';
import { OWNER_COLUMNS } from './owner-text.js';

interface Options {
  maxIo: number;
  restUs: number;
  restart?: boolean;
  json?: boolean;
}

/** What a scrub did. Offsets and lengths are bytes. */
interface ScrubDocument {
  size: number;
  /** Where it began: behind 0 when an earlier one was stopped. */
  from: number;
  /** Where the next one begins; `size` when it reached the end. */
  position: number;
  complete: boolean;
  latent: PoisonDocument[];
  damaged: DamagedDocument[];
}

const MAX_IO_BYTES = 1024 * 1024;
const REST_US = 1000;
/** 128 + SIGINT, as a shell has it. */
const INTERRUPTED_STATUS = 130;

const EXAMPLE = `
Examples:
  $ rmapfs scrub /mnt/pmem
  $ rmapfs scrub /mnt/pmem --max-io 64K --rest-us 20000 --json

Reads the data of files and all metadata, whose checksums it verifies. Whoever maps a latent error that it finds is
told as the policy says. Ctrl-C stops it; the next scrub of this mount goes on there (an unmount forgets the place).`;

function parseMaxIo(text: string): number {
  const bytes = parseSize(text);
  if (bytes >= BLOCK_SIZE && bytes <= SCRUB_STEP_MAX_BYTES) return bytes;
  throw new InvalidArgumentError(`It must be from ${BLOCK_SIZE} to ${SCRUB_STEP_MAX_BYTES} bytes.`);
}

function parseMicros(text: string): number {
  if (/^[0-9]{1,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a number of microseconds below 100000000.');
}

export function registerScrub(program: Command, env: CliEnvironment): void {
  program
    .command('scrub')
    .description('read the whole region to find latent errors, and say whose they are')
    .argument('<dir>', 'the mount point or a path below it')
    .addOption(new Option('--max-io <n>', 'bytes of one read').argParser(parseMaxIo).default(MAX_IO_BYTES))
    .addOption(
      new Option('--rest-us <n>', 'microseconds between two reads').argParser(parseMicros).default(REST_US),
    )
    .option('--restart', 'from the start, wherever an earlier one was stopped')
    .addOption(jsonOption())
    .addHelpText('after', EXAMPLE)
    .action((dir: string, options: Options) => runScrub(env, dir, options));
}

async function runScrub(env: CliEnvironment, dir: string, options: Options): Promise<void> {
  const stop = new AbortController();
  const onSignal = (): void => stop.abort();
  process.once('SIGINT', onSignal);
  try {
    const document = await onMount(env, { path: dir, asked: `scrub ${dir}` }, (client) =>
      scrubbed(env, client, options, stop.signal),
    );
    if (options.json) await printJson(env, document);
    else await env.write(documentText(document, dir));
    if (!document.complete) throw new CommandStatus(INTERRUPTED_STATUS);
  } finally {
    process.off('SIGINT', onSignal);
  }
}

async function scrubbed(
  env: CliEnvironment,
  client: ControlClient,
  options: Options,
  stop: AbortSignal,
): Promise<ScrubDocument> {
  const progress = await env.progress();
  const latent: PoisonDocument[] = [];
  const damaged: DamagedDocument[] = [];
  let from = -1;
  try {
    for (;;) {
      const step = client.scrub(options.maxIo, from < 0 && options.restart === true);
      if (from < 0) {
        from = step.from;
        progress.start(step.size, from);
      }
      if (step.found !== null) latent.push(step.found);
      damaged.push(...step.damaged);
      progress.update(step.position);
      const complete = step.position >= step.size;
      // The signal is seen when the event loop has had its turn.
      if (!complete) await sleep(options.restUs / 1000, undefined, { signal: stop }).catch(() => {});
      if (complete || stop.aborted) {
        return { size: step.size, from, position: step.position, complete, latent, damaged };
      }
    }
  } finally {
    progress.stop();
  }
}

function documentText(document: ScrubDocument, dir: string): string {
  const { size, from, position, complete, latent, damaged } = document;
  const bad = latent.reduce((sum, found) => sum + found.length, 0);
  let text = `read ${position - from} bytes from offset ${from} on: ${bad} bytes with latent errors\n`;
  for (const found of latent) {
    const victims = counted(found.victims.length, 'victim');
    text += `\n${found.length} bytes at physical offset ${found.physical}, ${victims}\n`;
    text += formatTable(OWNER_COLUMNS, found.owners);
  }
  for (const { physical, tree, detail } of damaged) {
    text += `\ndamaged metadata at physical offset ${physical} (${tree}): ${detail}\n`;
  }
  if (!complete) text += `\nstopped at ${position} of ${size} bytes; go on with: rmapfs scrub ${dir}\n`;
  return text;
}
