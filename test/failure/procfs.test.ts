import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type DeviceId, deviceId, type FileMapping, Procfs } from '../../src/failure/procfs.js';
import { buildVictim, VictimProcess } from '../support/victim.js';

const PAGES = 64;
const table = new Procfs();
let dir: string;
let victim: ReturnType<typeof buildVictim>;
const running: VictimProcess[] = [];

beforeAll(() => {
  victim = buildVictim();
  dir = mkdtempSync('/dev/shm/rmapfs-procfs-');
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((process) => process.stop()));
});
afterAll(() => {
  rmSync(dir, { recursive: true });
  victim.remove();
});

function makeFile(name = 'file'): { path: string; device: DeviceId; ino: number } {
  const path = join(dir, name);
  writeFileSync(path, Buffer.alloc(PAGES * 4096, 'x'));
  const stats = statSync(path);
  return { path, device: deviceId(stats.dev), ino: stats.ino };
}

async function start(path: string, ...steps: string[]): Promise<VictimProcess> {
  const process = await VictimProcess.start(victim.program, path, ...steps);
  running.push(process);
  return process;
}

function mappingsOf(device: DeviceId, ino: number): Map<number, FileMapping[]> {
  const found = new Map<number, FileMapping[]>();
  table.scan(device, (pid, mappings) => {
    const ours = mappings.filter((mapping) => mapping.ino === ino);
    if (ours.length > 0) found.set(pid, ours);
  });
  return found;
}

function presentPages(pid: number, address: number): number[] {
  const out = new Uint8Array(PAGES);
  expect(table.filePages(pid, address, PAGES, out)).toBe('ok');
  return [...out.keys()].filter((page) => out[page] === 1);
}

describe('scan', () => {
  it('finds every mapping of the file and its place, and nobody else', async () => {
    const file = makeFile();
    const mapper = await start(file.path, 'shared', 'private');
    await start(file.path);
    const other = makeFile('other');
    const otherMapper = await start(other.path, 'shared');
    const found = mappingsOf(file.device, file.ino);
    expect([...found.keys()]).toEqual([mapper.pid]);
    const addresses = mapper.values('map').sort((a, b) => a - b);
    expect(found.get(mapper.pid)).toEqual(
      addresses.map((start) => ({ start, end: start + PAGES * 4096, fileOffset: 0, ino: file.ino })),
    );
    expect([...mappingsOf(other.device, other.ino).keys()]).toEqual([otherMapper.pid]);
  });

  it('finds a mapping whose descriptor is closed and whose file is unlinked', async () => {
    const file = makeFile('unlinked');
    const mapper = await start(file.path, 'shared', 'write=0', 'close', 'unlink');
    expect([...mappingsOf(file.device, file.ino).keys()]).toEqual([mapper.pid]);
  });

  it('counts what it could not read and goes on', () => {
    const proc = mkdtempSync(join(dir, 'proc-'));
    mkdirSync(join(proc, '10'));
    writeFileSync(join(proc, '10', 'maps'), '7f0000000000-7f0000002000 rw-s 00003000 00:1b 42 /a b\n');
    mkdirSync(join(proc, '11'));
    mkdirSync(join(proc, '12', 'maps'), { recursive: true });
    mkdirSync(join(proc, 'sys'));
    const seen: unknown[] = [];
    const counts = new Procfs(proc).scan({ major: 0, minor: 0x1b }, (pid, maps) => seen.push(pid, maps));
    expect(counts).toEqual({ processes: 1, ended: 1, unreadable: 1 });
    const mapping = { start: 0x7f0000000000, end: 0x7f0000002000, fileOffset: 0x3000, ino: 42 };
    expect(seen).toEqual([10, [mapping]]);
  });

  it('passes itself over', () => {
    const proc = mkdtempSync(join(dir, 'proc-'));
    mkdirSync(join(proc, String(process.pid)));
    writeFileSync(join(proc, String(process.pid), 'maps'), '1000-2000 rw-s 00000000 00:1b 42 /a\n');
    const counts = new Procfs(proc).scan({ major: 0, minor: 0x1b }, () => expect.unreachable());
    expect(counts).toEqual({ processes: 0, ended: 0, unreadable: 0 });
  });

  it('reads maps that are larger than its buffer', () => {
    const proc = mkdtempSync(join(dir, 'proc-'));
    mkdirSync(join(proc, '10'));
    const line = '1000-2000 rw-s 00000000 08:01 7 /some/library.so\n';
    const last = '7f0000000000-7f0000001000 r--p 00000000 00:1b 9\n';
    writeFileSync(join(proc, '10', 'maps'), line.repeat(50_000) + last);
    const inos: number[] = [];
    new Procfs(proc).scan({ major: 0, minor: 0x1b }, (_, maps) => inos.push(...maps.map((m) => m.ino)));
    expect(inos).toEqual([9]);
  });
});

describe('filePages', () => {
  it.each([
    { steps: ['shared', 'write=2', 'write=40'], present: [2, 40] },
    { steps: ['shared'], present: [] },
    { steps: ['private', 'write=3'], present: [] },
    { steps: ['shared', 'thread=33'], includes: 33 },
    { steps: ['private', 'read=5'], includes: 5 },
    { steps: ['readonly', 'read=5'], includes: 5 },
  ])('$steps', async ({ steps, present, includes }) => {
    const file = makeFile();
    const mapper = await start(file.path, ...steps);
    const pages = presentPages(mapper.pid, mapper.values('map')[0]);
    if (present !== undefined) expect(pages).toEqual(present);
    // A read fault maps cached neighbours too (fault-around, 16 pages).
    else expect(pages).toContain(includes);
  });

  it('a fork child has not touched what its parent has', async () => {
    const file = makeFile();
    const parent = await start(file.path, 'shared', 'write=7', 'fork');
    const [address] = parent.values('map');
    const [child] = parent.values('child');
    expect([...mappingsOf(file.device, file.ino).keys()].sort()).toEqual([parent.pid, child].sort());
    expect(presentPages(parent.pid, address)).toEqual([7]);
    expect(presentPages(child, address)).toEqual([]);
  });

  it('says when the process is gone', async () => {
    const mapper = await start(makeFile().path, 'shared', 'write=0');
    await mapper.stop();
    expect(table.filePages(mapper.pid, mapper.values('map')[0], 1, new Uint8Array(1))).toBe('ended');
  });
});

describe('inspect', () => {
  it('tells name, start time and what becomes of a SIGBUS', async () => {
    const file = makeFile();
    const plain = await start(file.path, 'shared', 'handle');
    const state = table.inspect(plain.pid);
    expect(state).toMatchObject({ comm: 'victim', sigbusBlocked: false, sigbusIgnored: false });
    const ignores = await start(file.path, 'ignore');
    expect(table.inspect(ignores.pid)).toMatchObject({ sigbusIgnored: true, sigbusBlocked: false });
    const blocks = await start(file.path, 'block');
    expect(table.inspect(blocks.pid)).toMatchObject({ sigbusBlocked: true, sigbusPending: false });
    process.kill(blocks.pid, 'SIGBUS');
    expect(table.inspect(blocks.pid)).toMatchObject({ sigbusBlocked: true, sigbusPending: true });
    const later = table.inspect(blocks.pid);
    if (typeof state === 'string' || typeof later === 'string') return expect.unreachable();
    expect(later.startTicks).toBeGreaterThanOrEqual(state.startTicks);
    await plain.stop();
    expect(table.inspect(plain.pid)).toBe('ended');
  });
});

it('finds the one that maps it in every pass over all processes', async () => {
  const file = makeFile();
  const mapper = await start(file.path, 'shared', 'write=0');
  let hits = 0;
  for (let pass = 0; pass < 10; pass++) {
    table.scan(file.device, (pid) => {
      if (pid === mapper.pid) hits++;
    });
  }
  expect(hits).toBe(10);
});
