import type { Command } from 'commander';
import type { InfoDocument } from '../control/schema.js';
import { type Engine, probe } from '../engine/index.js';
import type { Media } from '../media/media.js';
import { BLOCK_SIZE } from '../types.js';
import { jsonOption } from './arguments.js';
import type { CliEnvironment } from './environment.js';
import { failure } from './errors.js';
import { onMount } from './on-mount.js';
import { humanSize, printJson } from './output.js';
import { isOnMount, withUnmounted } from './region.js';

export function registerInfo(program: Command, env: CliEnvironment): void {
  program
    .command('info')
    .description('print what a mount or an unmounted region holds')
    .argument('<dir|region>', 'the mount point or a path below it, or an unmounted region')
    .addOption(jsonOption())
    .addHelpText('after', '\nExample:\n  $ rmapfs info /mnt/pmem')
    .action((path: string, options: { json?: boolean }) => runInfo(env, path, options.json === true));
}

async function runInfo(env: CliEnvironment, path: string, json: boolean): Promise<void> {
  const asked = `describe ${path}`;
  const info = isOnMount(env, path, asked)
    ? await onMount(env, { path, asked }, (client) => client.info())
    : await withUnmounted(path, asked, (engine, media) => unmountedInfo(asked, engine, media));
  if (json) await printJson(env, info);
  else await env.write(infoText(info));
}

function unmountedInfo(asked: string, engine: Engine, media: Media): InfoDocument {
  const found = probe(media);
  if (found.kind !== 'rmapfs')
    throw failure(asked, 'its superblock has gone while it was read; run it again');
  const { sb } = found;
  const space = engine.space();
  return {
    label: sb.label,
    uuid: engine.info.uuid,
    size: sb.blocks * BLOCK_SIZE,
    blockSize: BLOCK_SIZE,
    blocks: {
      total: sb.blocks,
      free: space.free,
      available: space.available,
      shared: space.shared,
      saved: space.saved,
      bad: space.bad,
      metadata: space.metadata,
    },
    inodes: sb.inodeCount,
    lastTransaction: sb.txid,
    clean: sb.clean,
    shutdown: sb.shutdown,
    lastShutdown: engine.info.wasShutdown,
    readOnly: false,
  };
}

const yesNo = (value: boolean): string => (value ? 'yes' : 'no');

function infoText(info: InfoDocument): string {
  const mounted = info.pid !== undefined;
  const { total, free, shared, saved, bad } = info.blocks;
  const blocks = (count: number) => `${count} (${humanSize(count * info.blockSize)})`;
  const lines: [string, string][] = [
    ['label', info.label || '-'],
    ['uuid', info.uuid],
    ['size', `${info.size} bytes (${humanSize(info.size)})`],
    ['blocks', `${blocks(total)} of ${info.blockSize} bytes`],
    ['free', blocks(free)],
    ['shared', blocks(shared)],
    ['saved by sharing', blocks(saved)],
    ['bad', blocks(bad)],
    ['inodes', `${info.inodes}`],
    ['last transaction', `${info.lastTransaction}`],
    [mounted ? 'was clean' : 'clean', yesNo(info.clean)],
    ['shut down', yesNo(info.shutdown)],
  ];
  if (typeof info.lastShutdown === 'string') lines.push(['last shutdown', info.lastShutdown]);
  if (mounted) {
    lines.push(
      ['region', info.region ?? '-'],
      ['read-only', yesNo(info.readOnly)],
      ['policy', info.policy ?? '-'],
      ['daemon', `process ${info.pid}`],
    );
  }
  return lines.map(([name, value]) => `${name.padEnd(18)}${value}\n`).join('');
}
