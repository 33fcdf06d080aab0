import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { FileOwner } from '../../src/failure/job.js';
import { collectVictims } from '../../src/failure/victims.js';
import { PAGEMAP_BATCH_PAGES, VICTIMS_PER_FAILURE_MAX } from '../../src/limits.js';
import { asIno } from '../../src/types.js';
import { type FakeProcess, FakeTable } from '../support/fake-processes.js';

const PAGE = 4096;
const DEVICE = { major: 0, minor: 50 };

function owner(ino: number, firstPage: number, pages: number): FileOwner {
  return {
    kind: 'file',
    ino: asIno(ino),
    fileOffset: firstPage * PAGE,
    physical: 0,
    length: pages * PAGE,
    fork: 'data',
    unwritten: false,
    shareCount: 1,
  };
}

/** A mapping of `pages` pages of a file from file page `from` on. */
const mapping = (ino: number, start: number, pages: number, from = 0) => ({
  start,
  end: start + pages * PAGE,
  fileOffset: from * PAGE,
  ino,
});

const collect = (processes: FakeProcess[], owners: FileOwner[]) =>
  collectVictims(new FakeTable(processes), DEVICE, owners);

describe('a victim has the page present', () => {
  it('at the address of the page in its mapping', () => {
    const at = 0x7000_0000_0000;
    const process = { pid: 5, comm: 'me', mappings: [mapping(9, at, 10, 100)], present: [at + 3 * PAGE] };
    const { victims } = collect([process], [owner(9, 103, 1)]);
    expect(victims).toEqual([
      {
        pid: 5,
        tid: 5,
        comm: 'me',
        startTicks: 1005,
        ino: 9,
        fileOffset: 103 * PAGE,
        address: at + 3 * PAGE,
        owner: 0,
      },
    ]);
  });

  it('not when it only mapped, or touched other pages, or maps another file', () => {
    const at = 0x10000;
    const processes = [
      { pid: 1, mappings: [mapping(9, at, 10)], present: [] },
      { pid: 2, mappings: [mapping(9, at, 10)], present: [at + PAGE, at + 3 * PAGE] },
      { pid: 3, mappings: [mapping(8, at, 10)], present: [at + 2 * PAGE] },
      { pid: 4, mappings: [mapping(9, at, 2)], present: [at + 2 * PAGE] },
      { pid: 5 },
    ];
    expect(collect(processes, [owner(9, 2, 1)]).victims).toEqual([]);
  });

  it('once, at the lowest address, when the page is mapped twice', () => {
    const process = {
      pid: 5,
      mappings: [mapping(9, 0x10000, 4), mapping(9, 0x90000, 2, 1)],
      present: [0x11000, 0x90000],
    };
    const { victims } = collect([process], [owner(9, 1, 1)]);
    expect(victims.map((v) => v.address)).toEqual([0x11000]);
  });

  it('once for each clone of the block, and once for each page', () => {
    const process = {
      pid: 5,
      mappings: [mapping(9, 0x10000, 4), mapping(10, 0x90000, 4)],
      present: [0x11000, 0x12000, 0x92000],
    };
    const { victims } = collect([process], [owner(9, 1, 2), owner(10, 2, 1)]);
    expect(victims.map((v) => [v.ino, v.address])).toEqual([
      [9, 0x11000],
      [9, 0x12000],
      [10, 0x92000],
    ]);
  });

  it('in the order of owners, pages, processes', () => {
    const both = { mappings: [mapping(9, 0x10000, 4)], present: [0x10000, 0x11000, 0x12000] };
    const owners = [owner(9, 2, 1), owner(9, 0, 2)];
    const { victims } = collect(
      [
        { pid: 7, ...both },
        { pid: 3, ...both },
      ],
      owners,
    );
    expect(victims.map((v) => `${v.owner} ${v.fileOffset / PAGE} ${v.pid}`)).toEqual([
      '0 2 3',
      '0 2 7',
      '1 0 3',
      '1 0 7',
      '1 1 3',
      '1 1 7',
    ]);
  });
});

describe('processes that cannot be looked at', () => {
  it('are counted, whichever step fails', () => {
    const page = { mappings: [mapping(9, 0x10000, 1)], present: [0x10000] };
    const processes: FakeProcess[] = [
      { pid: 1, ...page, maps: 'unreadable' },
      { pid: 2, ...page, maps: 'ended' },
      { pid: 3, ...page, pagemap: 'unreadable' },
      { pid: 4, ...page, pagemap: 'ended' },
      { pid: 5, ...page, gone: true },
      { pid: 6, ...page },
    ];
    const { victims, scan } = collect(processes, [owner(9, 0, 1)]);
    expect(victims.map((v) => v.pid)).toEqual([6]);
    expect(scan).toEqual({ processes: 4, ended: 3, unreadable: 2 });
  });
});

describe('limits', () => {
  it('lists so many and counts the rest', () => {
    const pages = VICTIMS_PER_FAILURE_MAX + 10;
    const table = new FakeTable([{ pid: 5, mappings: [mapping(9, 0x10000, pages)] }]);
    table.filePages = (_pid, _address, count, out) => {
      expect(count).toBeLessThanOrEqual(PAGEMAP_BATCH_PAGES);
      out.fill(1, 0, count);
      return 'ok';
    };
    const { victims, omitted } = collectVictims(table, DEVICE, [owner(9, 0, pages)]);
    expect(victims.length).toBe(VICTIMS_PER_FAILURE_MAX);
    expect(omitted).toBe(10);
    expect(victims.at(-1)?.address).toBe(0x10000 + (VICTIMS_PER_FAILURE_MAX - 1) * PAGE);
  });

  it('one pass over the processes serves any number of owners', () => {
    const table = new FakeTable([]);
    collectVictims(table, DEVICE, [owner(9, 0, 1), owner(10, 0, 1), owner(11, 0, 1)]);
    expect(table.scans).toBe(1);
  });
});

it('agrees with the rule said page by page (property)', () => {
  const INOS = 3;
  const FILE_PAGES = 12;
  const mappings = fc.array(
    fc.record({ ino: fc.nat(INOS - 1), from: fc.nat(FILE_PAGES - 1), pages: fc.integer({ min: 1, max: 8 }) }),
    { maxLength: 4 },
  );
  const processes = fc.array(fc.record({ mappings, present: fc.uniqueArray(fc.nat(63)) }), { maxLength: 4 });
  // At most one owner for each file page: bit p of the mask is page p.
  const bad = fc.array(fc.nat(2 ** FILE_PAGES - 1), { minLength: INOS, maxLength: INOS });
  fc.assert(
    fc.property(processes, bad, (described, masks) => {
      const owners: FileOwner[] = [];
      for (const [ino, mask] of masks.entries()) {
        for (let page = 0; page < FILE_PAGES; page++)
          if ((mask >> page) & 1) owners.push(owner(ino, page, 1));
      }
      const expected = new Map<string, number>();
      const fakes = described.map(({ mappings, present }, index): FakeProcess => {
        // Each mapping in a slot of 16 pages, so that addresses do not meet.
        const maps = mappings.map((m, slot) => mapping(m.ino, (slot + 1) * 16 * PAGE, m.pages, m.from));
        const addresses = present.map((bit) => 16 * PAGE + bit * PAGE);
        for (const map of maps) {
          for (let address = map.start; address < map.end; address += PAGE) {
            const page = (map.fileOffset + address - map.start) / PAGE;
            const failed = page < FILE_PAGES && ((masks[map.ino] >> page) & 1) === 1;
            const key = `${index + 1} ${map.ino} ${page}`;
            if (failed && addresses.includes(address) && !expected.has(key)) expected.set(key, address);
          }
        }
        return { pid: index + 1, mappings: maps, present: addresses };
      });
      const { victims } = collect(fakes, owners);
      const found = victims.map((v): [string, number] => [
        `${v.pid} ${v.ino} ${v.fileOffset / PAGE}`,
        v.address,
      ]);
      expect(new Map(found)).toEqual(expected);
      expect(found.length).toBe(expected.size);
    }),
  );
});
