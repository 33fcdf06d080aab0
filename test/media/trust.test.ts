import {
  chmodSync,
  chownSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openRegion } from '../../src/media/region.js';
import { othersWhoWrite, plantedBy } from '../../src/media/trust.js';

const [ROOT, ALICE, MALLORY] = [0, 1000, 1001];

let base: string;
/** Like /tmp. */
let open: string;
/** Of root alone. */
let own: string;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'rmapfs-trust-'));
  [open, own] = [join(base, 'open'), join(base, 'own')];
  for (const dir of [open, own]) mkdirSync(dir);
  chmodSync(open, 0o1777);
});

afterEach(() => rmSync(base, { recursive: true }));

function file(at: string, uid: number, mode = 0o600): string {
  writeFileSync(at, Buffer.alloc(1024 * 1024));
  chmodSync(at, mode);
  chownSync(at, uid, uid);
  return at;
}

function link(at: string, to: string, uid: number): string {
  symlinkSync(to, at);
  lchownSync(at, uid, uid);
  return at;
}

describe.runIf(process.getuid?.() === 0)('a region that another user has put there', () => {
  const planted = (at: string, uid: number): boolean => plantedBy(at, statSync(at), uid) !== null;

  test('is refused where everybody may make files, to root and to others', () => {
    const at = file(join(open, 'region'), MALLORY, 0o666);
    expect([planted(at, ROOT), planted(at, ALICE), planted(at, MALLORY)]).toEqual([true, true, false]);
    const used = (): unknown => openRegion(at, { readOnly: false });
    expect(used).toThrow(/a file of user 1001 in a directory where everybody/);
    expect(() => openRegion(at, { readOnly: false, create: { size: 2 ** 20, sparse: true } })).toThrow(
      /EACCES/,
    );
    openRegion(at, { readOnly: true }).close();
    chownSync(at, ROOT, ROOT);
    openRegion(at, { readOnly: false }).close();
    expect(planted(at, ALICE)).toBe(false);
  });

  test('so is a symbolic link of another, wherever it leads', () => {
    const target = file(join(own, 'region'), ROOT);
    const at = link(join(open, 'link'), target, MALLORY);
    expect([planted(at, ROOT), planted(target, ROOT)]).toEqual([true, false]);
    expect(() => openRegion(at, { readOnly: false })).toThrow(/a symbolic link of user 1001/);
    expect(planted(link(join(open, 'ours'), target, ROOT), ROOT)).toBe(false);
    // And a link of ours to what another has put there.
    const other = file(join(open, 'region'), MALLORY);
    expect(planted(link(join(own, 'link'), other, ROOT), ROOT)).toBe(true);
  });

  test('elsewhere it is only told', () => {
    const at = file(join(own, 'region'), MALLORY);
    expect(planted(at, ROOT)).toBe(false);
    expect(othersWhoWrite(at, ROOT)).toBe('it belongs to user 1001');
    chownSync(at, ROOT, ROOT);
    expect(othersWhoWrite(at, ROOT)).toBeNull();
    chmodSync(at, 0o620);
    expect(othersWhoWrite(at, ROOT)).toBe('its mode is 620');
    chmodSync(at, 0o644);
    chmodSync(own, 0o777);
    expect(othersWhoWrite(at, ROOT)).toBe('others may write to its directory');
    chmodSync(own, 0o1777);
    expect(othersWhoWrite(at, ROOT)).toBeNull();
    chmodSync(own, 0o755);
    chownSync(own, ALICE, ALICE);
    expect(othersWhoWrite(at, ROOT)).toBe('its directory belongs to user 1000');
    expect(othersWhoWrite('/dev/null', ROOT)).toBeNull();
  });
});
