/**
 * What a call costs on rmapfs beside the same loop in C (bench/peer/fuse-loop.c), both on one CPU with their
 * client, in turns; and what a clone of a large file takes beside a copy of its bytes. Prints a table and
 * writes nothing that stays. Run by `npm run bench`.
 */
import { writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { join } from 'node:path';
import {
  compile,
  inWorkspace,
  mountPeer,
  mountRmapfs,
  pinned,
  pinnedTime,
  requestsServed,
  type Spread,
  show,
  spread,
  type Target,
} from './support.js';

const MIB = 1024 * 1024;
/** Size of the file that is read, on both sides. */
const FILE_BYTES = 64 * MIB;
const CALLS_PER_TURN = 20_000;
/** The first ones warm both sides up (Node compiles what is hot) and are not counted. */
const WARM_UP_TURNS = 5;
const TURNS = 9;
const CLONE_BYTES = 256 * MIB;
const CLONE_TURNS = 7;

const METHODS = { getattr: ['getattr', 'statx'], read: ['read'] } as const;
type Method = keyof typeof METHODS;

/** Microseconds a call, one turn. */
const turn = (client: string, method: Method, target: Target): number =>
  Number(pinned(client, method, join(target.dir, 'file'), String(CALLS_PER_TURN))) / 1000;

const served = (dir: string, method: Method): number => {
  const counts = requestsServed(dir);
  return METHODS[method].reduce((sum, name) => sum + (counts.get(name) ?? 0), 0);
};

/** One turn must reach the daemon as often as it called, or it measures the kernel's cache. */
function checkThatCallsArrive(client: string, method: Method, target: Target): void {
  const before = served(target.dir, method);
  turn(client, method, target);
  const arrived = served(target.dir, method) - before;
  if (arrived < CALLS_PER_TURN)
    throw new Error(`${CALLS_PER_TURN} calls of ${method} made only ${arrived} requests of the daemon`);
}

interface Comparison {
  ours: Spread;
  peers: Spread;
  /** Ours / the peer's, of neighbouring turns. */
  ratio: Spread;
}

/** A B A B ...: both see the same changes of the machine. */
function compare(client: string, method: Method, ours: Target, peer: Target): Comparison {
  const [a, b]: [number[], number[]] = [[], []];
  for (let i = 0; i < WARM_UP_TURNS + TURNS; i++) {
    const pair = [turn(client, method, ours), turn(client, method, peer)] as const;
    if (i < WARM_UP_TURNS) continue;
    a.push(pair[0]);
    b.push(pair[1]);
  }
  return { ours: spread(a), peers: spread(b), ratio: spread(a.map((value, i) => value / Number(b[i]))) };
}

async function channel(workspace: string, client: string): Promise<void> {
  const ours = mountRmapfs(workspace, '128M');
  try {
    const file = join(ours.dir, 'file');
    // Not through the page cache: an O_DIRECT read would look for dirty pages there, and the peer's file has none.
    pinned(
      'dd',
      'if=/dev/urandom',
      `of=${file}`,
      'oflag=direct',
      'bs=1M',
      `count=${FILE_BYTES / MIB}`,
      'status=none',
    );
    const peer = await mountPeer(workspace, FILE_BYTES);
    try {
      printComparison(client, ours, peer);
    } finally {
      await peer.unmount();
    }
  } finally {
    await ours.unmount();
  }
}

function printComparison(client: string, ours: Target, peer: Target): void {
  console.log(`\n${'call'.padEnd(14)}${'rmapfs'.padEnd(28)}${'C loop'.padEnd(28)}ratio`);
  for (const method of Object.keys(METHODS) as Method[]) {
    checkThatCallsArrive(client, method, ours);
    const { ours: mine, peers, ratio } = compare(client, method, ours, peer);
    const label = method === 'read' ? '4 KiB read' : 'getattr';
    const columns = [label.padEnd(14), show(mine, 'us').padEnd(28), show(peers, 'us').padEnd(28)];
    console.log(`${columns.join('')}${show(ratio, 'x', 2)}`);
  }
}

async function cloning(workspace: string, client: string): Promise<void> {
  const ours = mountRmapfs(workspace, '1G');
  try {
    const [source, target] = [join(ours.dir, 'source'), join(ours.dir, 'target')];
    writeFileSync(source, Buffer.alloc(CLONE_BYTES, 'rmapfs'));
    const ways: Record<string, () => number> = {
      copy_file_range: () => Number(pinned(client, 'clone', source, target)) / 1e6,
      cp: () => pinnedTime('cp', source, target),
      'dd bs=1M (copies bytes)': () =>
        pinnedTime('dd', `if=${source}`, `of=${target}`, 'bs=1M', 'status=none'),
    };
    console.log(`\n${`${CLONE_BYTES / MIB} MiB file`.padEnd(28)}time`);
    for (const [name, measure] of Object.entries(ways)) {
      const times: number[] = [];
      for (let i = 0; i < CLONE_TURNS; i++) {
        times.push(measure());
        pinned('rm', target);
      }
      console.log(`${name.padEnd(28)}${show(spread(times), 'ms', 2)}`);
    }
  } finally {
    await ours.unmount();
  }
}

console.log(`Linux ${release()}, Node ${process.version}, ${cpus()[0]?.model ?? 'unknown CPU'}`);
console.log(
  `medians (smallest .. largest) of ${TURNS} turns of ${CALLS_PER_TURN} calls; client and daemon on one CPU`,
);
await inWorkspace((workspace) => channel(workspace, compile('client.c', join(workspace, 'client'))));
await inWorkspace((workspace) => cloning(workspace, compile('client.c', join(workspace, 'client'))));
