import type { Command } from 'commander';
import { errnoOf } from '../errors.js';
import { bytesText, jsonOption, parseSize } from './arguments.js';
import { DEDUPE_FINDINGS, withBoth } from './clone.js';
import type { CliEnvironment } from './environment.js';
import { failure } from './errors.js';
import { printJson } from './output.js';

export function registerDedupe(program: Command, env: CliEnvironment): void {
  program
    .command('dedupe')
    .description('share the blocks of two ranges where their bytes are the same')
    .argument('<src>', 'a file of the mount')
    .argument('<src-offset>', 'where the range begins in SRC, in bytes', parseSize)
    .argument('<dst>', 'a file of the same mount')
    .argument('<dst-offset>', 'where the range begins in DST, in bytes', parseSize)
    .argument('<length>', 'bytes of both ranges', parseSize)
    .addOption(jsonOption())
    .addHelpText('after', '\nExample:\n  $ rmapfs dedupe /mnt/pmem/a 0 /mnt/pmem/b 0 1M')
    .action(
      (
        src: string,
        srcOffset: number,
        dst: string,
        dstOffset: number,
        length: number,
        options: { json?: boolean },
      ) => runDedupe(env, src, dst, { srcOffset, dstOffset, length }, options.json === true),
    );
}

async function runDedupe(
  env: CliEnvironment,
  src: string,
  dst: string,
  range: { srcOffset: number; dstOffset: number; length: number },
  json: boolean,
): Promise<void> {
  const asked = `share ${bytesText(range.length)} of ${src} with ${dst}`;
  const pair = { asked, src, dst, makeDst: false, findings: DEDUPE_FINDINGS };
  const { bytesDeduped, status } = withBoth(env, pair, (source, target) => target.dedupe(source, range));
  if (status < 0) throw failure(asked, statusText(status));
  const answer = { bytesDeduped, status: status === 0 ? 'same' : 'differs' };
  if (json) await printJson(env, answer);
  else await env.write(status === 0 ? `${bytesDeduped} bytes are shared\n` : 'the ranges differ\n');
}

/** What a negative status of FIDEDUPERANGE means. */
function statusText(status: number): string {
  for (const [name, text] of Object.entries(DEDUPE_FINDINGS)) {
    if (text !== undefined && errnoOf(name as Parameters<typeof errnoOf>[0]) === -status) return text;
  }
  return `the filesystem refused it with errno ${-status}; see ioctl_fideduperange(2)`;
}
