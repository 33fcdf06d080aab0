import { describe, expect, it } from 'vitest';
import { LatentMappers } from '../../src/failure/latent.js';
import type { Victim } from '../../src/failure/victims.js';
import { asIno } from '../../src/types.js';
import { FakeTable } from '../support/fake-processes.js';

const PAGE = 4096;
const AT = 0x7f00_0000_0000;

const victim = (pid: number, page: number, startTicks = 1000 + pid): Victim => ({
  pid,
  tid: pid,
  comm: 'x',
  startTicks,
  ino: asIno(20),
  fileOffset: page * PAGE,
  address: AT + page * PAGE,
  owner: 0,
});

/** Which of four pages from AT on a process has, as the table sees it. */
function pagesOf(mappers: LatentMappers, table: FakeTable, pid: number): number[] | string {
  const out = new Uint8Array(4);
  const look = mappers.table(table).filePages(pid, AT, 4, out);
  return look === 'ok' ? [...out] : look;
}

describe('the mappers of latent errors', () => {
  it('have their pages still, beside those that they really have', () => {
    const table = new FakeTable([{ pid: 100, present: [AT] }, { pid: 101 }]);
    const mappers = new LatentMappers();
    expect(mappers.table(table)).toBe(table);
    mappers.remember([victim(100, 2), victim(101, 1)]);
    expect(pagesOf(mappers, table, 100)).toEqual([1, 0, 1, 0]);
    expect(pagesOf(mappers, table, 101)).toEqual([0, 1, 0, 0]);
    mappers.forget([victim(101, 1)]);
    expect(pagesOf(mappers, table, 101)).toEqual([0, 0, 0, 0]);
  });

  it('are not taken for another process with their pid, and may have ended', () => {
    const table = new FakeTable([{ pid: 100 }, { pid: 101, gone: true }]);
    const mappers = new LatentMappers();
    mappers.remember([victim(100, 2, 7), victim(101, 1)]);
    expect(pagesOf(mappers, table, 100)).toEqual([0, 0, 0, 0]);
    expect(pagesOf(mappers, table, 101)).toBe('ended');
  });
});
