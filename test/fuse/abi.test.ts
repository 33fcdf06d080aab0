import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import * as abi from '../../src/fuse/abi.js';

/** Every number of abi.ts against the machine's own headers, through the C compiler. */

/** Records and names that a 7.38 header does not have yet; compared with statx(2) where it has the layout. */
const NEWER_RECORDS = ['fuse_copy_file_range_out', 'fuse_statx_in', 'fuse_statx', 'fuse_statx_out'];
const NEWER_OPCODES = ['STATX', 'COPY_FILE_RANGE_64'];
/** C names of fields that the header spells in another way. */
const FIELD_NAMES: Record<string, string> = {
  'fuse_statx.spare0': '__spare0',
  'fuse_statx.spare2': '__spare2',
};

/** Prints the values of C expressions. */
function evaluate(headers: string[], expressions: string[]): number[] {
  const dir = mkdtempSync(join(tmpdir(), 'rmapfs-abi-'));
  try {
    const source = join(dir, 'abi.c');
    const program = join(dir, 'abi');
    const lines = expressions.map((e) => `  printf("%lld\\n", (long long)(${e}));`);
    const includes = ['stdio.h', 'stddef.h', ...headers].map((h) => `#include <${h}>`);
    writeFileSync(source, [...includes, 'int main(void) {', ...lines, '  return 0;', '}', ''].join('\n'));
    execFileSync('cc', ['-Wall', '-Werror', '-o', program, source]);
    return execFileSync(program).toString().trim().split('\n').map(Number);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

type Check = readonly [expression: string, expected: number];

function expectEqual(headers: string[], checks: Check[]): void {
  const values = evaluate(
    headers,
    checks.map(([expression]) => expression),
  );
  const found = Object.fromEntries(checks.map(([expression], i) => [expression, values[i]]));
  expect(found).toEqual(Object.fromEntries(checks));
}

const isLayout = (value: unknown): value is abi.Layout<string> =>
  typeof value === 'object' && value !== null && 'at' in value && 'width' in value;

function layoutChecks(
  struct: string,
  layout: abi.Layout<string>,
  fieldOf = (f: string): string => f,
): Check[] {
  const checks: Check[] = [[`sizeof(${struct})`, layout.size]];
  for (const field of Object.keys(layout.at)) {
    const name = fieldOf(field);
    checks.push([`offsetof(${struct}, ${name})`, layout.at[field]]);
    checks.push([`sizeof(((${struct} *)0)->${name})`, layout.width[field]]);
  }
  return checks;
}

const records = Object.entries(abi).filter((entry): entry is [string, abi.Layout<string>] =>
  isLayout(entry[1]),
);

test('records are those of <linux/fuse.h>', () => {
  const known = records.filter(([name]) => !NEWER_RECORDS.includes(name));
  expect(known.length).toBeGreaterThan(30);
  expectEqual(
    ['linux/fuse.h'],
    known.flatMap(([name, layout]) => layoutChecks(`struct ${name}`, layout)),
  );
});

test('opcodes and flags are those of <linux/fuse.h>', () => {
  const group = (values: Record<string, number>, prefix: string): Check[] =>
    Object.entries(values).map(([name, value]) => [`${prefix}${name}`, value]);
  const opcodes = Object.entries(abi.OPCODE).filter(([name]) => !NEWER_OPCODES.includes(name));
  expectEqual(
    ['linux/fuse.h'],
    [
      ...group(Object.fromEntries(opcodes), 'FUSE_'),
      ...group(abi.INIT_FLAG, 'FUSE_'),
      ...group(abi.FATTR, 'FATTR_'),
      ...group(abi.FOPEN, 'FOPEN_'),
      ...group(abi.NOTIFY, 'FUSE_NOTIFY_'),
      ['FUSE_OPEN_KILL_SUIDGID', abi.FUSE_OPEN_KILL_SUIDGID],
      ['FUSE_WRITE_CACHE', abi.FUSE_WRITE_CACHE],
      ['FUSE_WRITE_LOCKOWNER', abi.FUSE_WRITE_LOCKOWNER],
      ['FUSE_WRITE_KILL_SUIDGID', abi.FUSE_WRITE_KILL_SUIDGID],
      ['FUSE_ROOT_ID', abi.FUSE_ROOT_ID],
      ['FUSE_KERNEL_VERSION', abi.FUSE_KERNEL_VERSION],
      ['FUSE_COMPAT_SETXATTR_IN_SIZE', abi.FUSE_COMPAT_SETXATTR_IN_SIZE],
      ['FUSE_REC_ALIGN(1)', abi.DIRENT_ALIGN],
    ],
  );
});

test('struct fuse_statx is struct statx as far as the kernel reads it', () => {
  const spares = ['spare0', 'spare2'];
  const layout = abi.fuse_statx;
  const names: Record<string, string> = { ino: 'ino', rdev_major: 'rdev_major' };
  const fields = Object.keys(layout.at).filter((field) => !spares.includes(field));
  const checks: Check[] = [['sizeof(struct statx)', layout.size]];
  for (const field of fields) {
    const c = `stx_${names[field] ?? field}`;
    checks.push([`offsetof(struct statx, ${c})`, layout.at[field as keyof typeof layout.at]]);
  }
  expectEqual(['linux/stat.h'], checks);
});

test('newer names, where the header has them', () => {
  const header = readFileSync('/usr/include/linux/fuse.h', 'latin1');
  const newer = records.filter(
    ([name]) => header.includes(`struct ${name} {`) && NEWER_RECORDS.includes(name),
  );
  const checks = newer.flatMap(([name, layout]) =>
    layoutChecks(`struct ${name}`, layout, (field) => FIELD_NAMES[`${name}.${field}`] ?? field),
  );
  for (const name of NEWER_OPCODES) {
    if (header.includes(`FUSE_${name}\t`)) {
      checks.push([`FUSE_${name}`, abi.OPCODE[name as keyof typeof abi.OPCODE]]);
    }
  }
  if (checks.length > 0) expectEqual(['linux/fuse.h'], checks);
  else console.log('the header is older than 7.39: statx and copy_file_range_64 compared by statx(2) only');
});
