import type { Command } from 'commander';
import { jsonOption } from './arguments.js';
import type { CliEnvironment } from './environment.js';
import { onMount } from './on-mount.js';
import { formatTable, printJson } from './output.js';

export function registerStats(program: Command, env: CliEnvironment): void {
  program
    .command('stats')
    .description('print the counters of a mount')
    .argument('<dir>', 'the mount point or a path below it')
    .addOption(jsonOption())
    .addHelpText('after', '\nExample:\n  $ rmapfs stats /mnt/pmem --json')
    .action((dir: string, options: { json?: boolean }) => runStats(env, dir, options.json === true));
}

async function runStats(env: CliEnvironment, dir: string, json: boolean): Promise<void> {
  const stats = await onMount(env, { path: dir, asked: `read the counters of ${dir}` }, (client) =>
    client.stats(),
  );
  if (json) return printJson(env, stats);
  const columns = [
    { title: 'COUNTER', align: 'left', text: ([name]: Counter) => name },
    { title: 'VALUE', align: 'right', text: ([, value]: Counter) => value },
  ] as const;
  await env.write(formatTable(columns, [...flatten('', stats)]));
}

type Counter = readonly [name: string, value: string];

/** Nested counters by their dotted names. */
function* flatten(prefix: string, value: unknown): Generator<Counter> {
  if (typeof value === 'object' && value !== null) {
    for (const [name, inner] of Object.entries(value)) {
      yield* flatten(prefix === '' ? name : `${prefix}.${name}`, inner);
    }
  } else {
    yield [prefix, String(value)];
  }
}
