import type { Command } from 'commander';
import type { ControlClient, EventsPage } from '../control/client.js';
import { errnoNameOf } from '../control/error.js';
import type { EventDocument, EventsDocument } from '../control/schema.js';
import { EVENT_FOLLOW_WAIT_MS } from '../limits.js';
import type { CliEnvironment } from './environment.js';
import { onMount } from './on-mount.js';
import { counted, printJson } from './output.js';

interface Options {
  follow?: boolean;
  json?: boolean;
}

const EXAMPLE = `
Examples:
  $ rmapfs events /mnt/pmem
  $ rmapfs events /mnt/pmem --follow --json

With --follow it prints what there is and goes on as events come, one JSON document a line with --json; events that
were dropped before they could be printed are a line of their own, {"type":"lost","count":N}. It ends when the
daemon does.`;

export function registerEvents(program: Command, env: CliEnvironment): void {
  program
    .command('events')
    .description('print the failure events of a mount')
    .argument('<dir>', 'the mount point or a path below it')
    .option('--follow', 'go on as they come')
    .option('--json', 'print one JSON document; with --follow one a line')
    .addHelpText('after', EXAMPLE)
    .action((dir: string, options: Options) => runEvents(env, dir, options));
}

async function runEvents(env: CliEnvironment, dir: string, options: Options): Promise<void> {
  const task = { path: dir, asked: `read the failure events of ${dir}` };
  await onMount(env, task, async (client) => {
    if (options.follow) return await follow(env, client, options.json === true);
    const document = allEvents(client);
    if (options.json) return await printJson(env, document);
    const lines = [...lostLines(document.lost), ...document.events.map(eventText)];
    await env.write(lines.length === 0 ? 'no failure events\n' : `${lines.join('\n')}\n`);
  });
}

function allEvents(client: ControlClient): EventsDocument {
  const events: EventDocument[] = [];
  let lost = 0;
  for (let cursor = 0; ; ) {
    const page = client.events(cursor, 0);
    events.push(...page.events);
    lost += page.lost;
    if (page.cursor === cursor) return { lost, events };
    cursor = page.cursor;
  }
}

async function follow(env: CliEnvironment, client: ControlClient, json: boolean): Promise<void> {
  for (let cursor = 0; ; ) {
    const page = nextPage(client, cursor);
    if (page === null) return;
    const lines = json ? jsonLines(page) : [...lostLines(page.lost), ...page.events.map(eventText)];
    if (lines.length > 0) await env.write(`${lines.join('\n')}\n`);
    else await new Promise((done) => setImmediate(done));
    cursor = page.cursor;
  }
}

/** Null when the mount ends. */
function nextPage(client: ControlClient, cursor: number): EventsPage | null {
  try {
    return client.events(cursor, EVENT_FOLLOW_WAIT_MS);
  } catch (error) {
    const code = errnoNameOf(error);
    // A stop and a continue of this process, for example.
    if (code === 'EINTR') return { cursor, lost: 0, events: [] };
    if (code === 'ENODEV' || code === 'ENOTCONN') return null;
    throw error;
  }
}

function jsonLines(page: EventsPage): string[] {
  const lost = page.lost > 0 ? [JSON.stringify({ type: 'lost', count: page.lost })] : [];
  return [...lost, ...page.events.map((event) => JSON.stringify(event))];
}

const lostLines = (lost: number): string[] =>
  lost > 0 ? [`(${counted(lost, 'event')} dropped before this)`] : [];

function eventText(event: EventDocument): string {
  const times = event.count > 1 ? ` (${event.count} events)` : '';
  return `${new Date(event.time * 1000).toISOString()} ${event.type}: ${detail(event)}${times}`;
}

function detail(event: EventDocument): string {
  switch (event.type) {
    case 'media-error': {
      const told = `${counted(event.owners, 'owner')}, ${counted(event.victims, 'victim')}`;
      return `${event.length} bytes at physical offset ${event.physical}, found by ${event.by}, ${told}`;
    }
    case 'data-lost': {
      const name = event.paths.length > 0 ? event.paths.join(', ') : `inode ${event.ino}`;
      return `${event.length} bytes at offset ${event.fileOffset} of ${name}`;
    }
    case 'healed':
      return `${event.length} bytes at physical offset ${event.physical}, by ${event.by}`;
    case 'metadata-repaired':
      return `a node of the ${event.tree} tree at physical offset ${event.physical}`;
    case 'shutdown':
      return event.reason;
    case 'remount-with-bad-blocks':
      return `${event.length} bytes in ${counted(event.ranges, 'range')}`;
  }
}
