import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import * as protocol from '../../src/control/protocol.js';
import { MCE_KILL_POLICY } from '../../src/failure/mce-kill.js';

/** The public C header and protocol.ts describe the same records: a C program prints its view of them. */

const HEADER_DIRECTORY = fileURLToPath(new URL('../../native', import.meta.url));

type Layout = Readonly<Record<string, number | object>>;

const RECORDS: Record<string, Layout> = {
  rmapfs_clone_token: protocol.CLONE_TOKEN,
  rmapfs_clone: protocol.CLONE,
  rmapfs_dedupe: protocol.DEDUPE,
  rmapfs_extents: protocol.EXTENTS,
  rmapfs_extent: protocol.EXTENTS.record,
  rmapfs_fsmap: protocol.FSMAP,
  rmapfs_fsmap_record: protocol.FSMAP.record,
  rmapfs_badblocks: protocol.BADBLOCKS,
  rmapfs_bad_range: protocol.BADBLOCKS.record,
  rmapfs_poison: protocol.POISON,
  rmapfs_unpoison: protocol.UNPOISON,
  rmapfs_report: protocol.REPORT,
  rmapfs_fallocate: protocol.FALLOCATE,
  rmapfs_mce_kill: protocol.MCE_KILL,
  rmapfs_events: protocol.EVENTS,
  rmapfs_scrub: protocol.SCRUB,
  rmapfs_owners: protocol.OWNERS,
};

const FLAGS: Record<string, Readonly<Record<string, number>>> = {
  RMAPFS_EXTENT: protocol.EXTENT_FLAG,
  RMAPFS_FSMAP: protocol.FSMAP_FLAG,
  RMAPFS_OWNER: protocol.FSMAP_OWNER,
  RMAPFS_POISON: protocol.POISON_FLAG,
  RMAPFS_SCRUB: protocol.SCRUB_FLAG,
  RMAPFS_REPORT: protocol.REPORT_KIND,
  RMAPFS_POLICY: Object.fromEntries(protocol.POLICIES.map((name, i) => [name, i])),
  RMAPFS_IOC: protocol.IOC,
  RMAPFS_MCE_KILL: MCE_KILL_POLICY,
};

const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** What the C program must print, by expression. */
function expectations(): Map<string, number> {
  const wanted = new Map<string, number>([
    ['RMAPFS_TOKEN_BYTES', protocol.TOKEN_BYTES],
    ['RMAPFS_IOC_TYPE', protocol.IOC_TYPE],
  ]);
  for (const [struct, layout] of Object.entries(RECORDS)) {
    for (const [field, offset] of Object.entries(layout)) {
      if (typeof offset !== 'number') continue;
      const expression =
        field === 'size' ? `sizeof(struct ${struct})` : `offsetof(struct ${struct}, ${snake(field)})`;
      wanted.set(expression, offset);
    }
  }
  for (const [prefix, values] of Object.entries(FLAGS)) {
    for (const [name, value] of Object.entries(values)) {
      wanted.set(`${prefix}_${snake(name).toUpperCase()}`, value);
    }
  }
  return wanted;
}

describe('native/rmapfs.h', () => {
  let directory: string;
  beforeAll(() => {
    directory = fs.mkdtempSync(path.join(os.tmpdir(), 'rmapfs-abi-'));
  });
  afterAll(() => fs.rmSync(directory, { recursive: true }));

  test('has the offsets, sizes, numbers and request numbers of protocol.ts', () => {
    const wanted = expectations();
    const lines = [...wanted.keys()].map(
      (e) => `printf("%s\\t%llu\\n", "${e}", (unsigned long long)(${e}));`,
    );
    const source = path.join(directory, 'abi.c');
    const program = path.join(directory, 'abi');
    fs.writeFileSync(
      source,
      '#include <stddef.h>\n#include <stdio.h>\n#include "rmapfs.h"\n' +
        `int main(void) {\n${lines.join('\n')}\nreturn 0; }\n`,
    );
    const flags = ['-std=c11', '-Wall', '-Wextra', '-Wpedantic', '-Werror', '-I', HEADER_DIRECTORY];
    execFileSync('cc', [...flags, '-o', program, source]);
    const found = new Map<string, number>();
    for (const line of execFileSync(program, { encoding: 'utf8' }).trim().split('\n')) {
      const [expression, value] = line.split('\t');
      found.set(expression, Number(value));
    }
    expect(Object.fromEntries(found)).toEqual(Object.fromEntries(wanted));
    expect(found.size).toBeGreaterThan(80);
  });

  test('leaves no record that FUSE would refuse', () => {
    for (const request of Object.values(protocol.IOC)) {
      expect((request >>> 16) & 0x3fff).toBeLessThan(16 * 1024);
    }
  });

  test('compiles as C++ too', () => {
    const source = path.join(directory, 'abi.cc');
    fs.writeFileSync(
      source,
      '#include "rmapfs.h"\nint main() { return sizeof(rmapfs_poison) == 40 ? 0 : 1; }\n',
    );
    const program = path.join(directory, 'abi-cc');
    execFileSync('c++', ['-Wall', '-Wextra', '-Werror', '-I', HEADER_DIRECTORY, '-o', program, source]);
    execFileSync(program);
  });
});
