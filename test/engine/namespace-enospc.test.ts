import { describe, expect, it } from 'vitest';
import { checkNamespace } from '../../src/check/namespace.js';
import type { Reservation } from '../../src/engine/context.js';
import { DT_DIR } from '../../src/engine/mode.js';
import { NamespaceOps } from '../../src/engine/namespace.js';
import { RENAME_EXCHANGE, RENAME_WHITEOUT } from '../../src/engine/rename.js';
import { formatStore, openStore, type StoreOptions } from '../../src/engine/store.js';
import { type Ino, ROOT_INO } from '../../src/types.js';
import { dumpContext, FakeClock, HeapMedia, type MemContext, memContext } from '../support/mem-context.js';
import { bytes, codeOf, DIRECTORY, FILE, listDir, mountNamespace, symlinkTo } from '../support/namespace.js';

/** A filesystem with something of everything. */
class Scene {
  readonly ctx: MemContext = memContext();
  readonly ns = new NamespaceOps(this.ctx, { freeData: (ino) => this.#freeData(ino) });
  readonly dir: Ino;
  readonly empty: Ino;
  readonly file: Ino;
  readonly orphan: Ino;

  constructor() {
    this.ns.mkRoot(0, 0);
    this.dir = this.ns.create(ROOT_INO, bytes('dir'), DIRECTORY);
    this.empty = this.ns.create(ROOT_INO, bytes('empty'), DIRECTORY);
    this.ns.create(this.dir, bytes('sub'), DIRECTORY);
    this.file = this.ns.create(this.dir, bytes('file'), FILE);
    this.ns.link(this.file, ROOT_INO, bytes('second name'));
    this.ns.create(ROOT_INO, bytes('single'), FILE);
    this.ns.setxattr(this.file, bytes('user.large'), new Uint8Array(65536).fill(1), 0);
    this.ns.setxattr(this.file, bytes('user.small'), bytes('value'), 0);
    this.orphan = this.ns.createUnlinked(FILE);
    for (const name of ['user.a', 'user.b', 'user.c']) {
      this.ns.setxattr(this.orphan, bytes(name), new Uint8Array(30_000), 0);
    }
    this.ctx.clock.tick();
  }

  #freeData(_ino: Ino): void {
    for (let step = 0; step < 3; step++) this.ctx.trx.reserve({ dataBlocks: 0, records: 4, freeing: true });
  }
}

const OPERATIONS: [string, (s: Scene) => unknown, 'one step' | 'in steps'][] = [
  ['create', (s) => s.ns.create(s.dir, bytes('new'), FILE), 'one step'],
  ['mkdir', (s) => s.ns.create(s.dir, bytes('new'), DIRECTORY), 'one step'],
  ['symlink', (s) => s.ns.create(s.dir, bytes('new'), symlinkTo('t'.repeat(4095))), 'one step'],
  [
    'create with attributes',
    (s) => {
      const xattrs = [{ name: bytes('user.a'), value: new Uint8Array(4000) }];
      return s.ns.create(ROOT_INO, bytes('with'), { ...FILE, xattrs });
    },
    'one step',
  ],
  ['tmpfile', (s) => s.ns.createUnlinked(FILE), 'one step'],
  ['link', (s) => s.ns.link(s.file, s.dir, bytes('new')), 'one step'],
  ['link of an orphan', (s) => s.ns.link(s.orphan, s.dir, bytes('new')), 'one step'],
  ['unlink', (s) => s.ns.unlink(s.dir, bytes('file')), 'one step'],
  ['unlink of the last name', (s) => s.ns.unlink(ROOT_INO, bytes('single')), 'one step'],
  ['rmdir', (s) => s.ns.rmdir(ROOT_INO, bytes('empty')), 'one step'],
  ['rename', (s) => s.ns.rename(s.dir, bytes('file'), ROOT_INO, bytes('new'), 0), 'one step'],
  ['rename over a file', (s) => s.ns.rename(s.dir, bytes('file'), ROOT_INO, bytes('single'), 0), 'one step'],
  [
    'rename over a directory',
    (s) => s.ns.rename(s.dir, bytes('sub'), ROOT_INO, bytes('empty'), 0),
    'one step',
  ],
  [
    'rename over a file with a whiteout',
    (s) => s.ns.rename(s.dir, bytes('file'), ROOT_INO, bytes('single'), RENAME_WHITEOUT),
    'one step',
  ],
  [
    'exchange of a directory and a file',
    (s) => s.ns.rename(s.dir, bytes('sub'), ROOT_INO, bytes('single'), RENAME_EXCHANGE),
    'one step',
  ],
  ['setattr', (s) => s.ns.setattr(s.file, { mode: 0o600, uid: 1, atime: { sec: 1, nsec: 1 } }), 'one step'],
  ['touchAtime', (s) => s.ns.touchAtime(s.file, { sec: 1, nsec: 1 }), 'one step'],
  ['setxattr', (s) => s.ns.setxattr(s.file, bytes('user.new'), new Uint8Array(65536), 0), 'one step'],
  [
    'setxattr over one',
    (s) => s.ns.setxattr(s.file, bytes('user.large'), new Uint8Array(65536), 0),
    'one step',
  ],
  ['removexattr', (s) => s.ns.removexattr(s.file, bytes('user.large')), 'one step'],
  ['inactivate', (s) => s.ns.inactivate(s.orphan), 'in steps'],
  ['reclaimOrphans', (s) => s.ns.reclaimOrphans(), 'in steps'],
];

/** Three for the data, 3 * 24 records of attributes four at a time, one for the inode. */
const STEPS_OF_ORPHAN = 3 + 18 + 1;

describe('the n-th reservation fails', () => {
  it.each(OPERATIONS)('%s', (_title, run, kind) => {
    let steps = 0;
    for (let n = 1; ; n++) {
      const scene = new Scene();
      const before = dumpContext(scene.ctx);
      scene.ctx.trx.failReserveIn = n;
      const code = codeOf(() => run(scene));
      scene.ctx.trx.failReserveIn = 0;
      expect(checkNamespace(scene.ctx)).toEqual([]);
      if (code === 'ok') {
        expect(dumpContext(scene.ctx)).not.toEqual(before);
        break;
      }
      expect(code).toBe('ENOSPC');
      steps++;
      if (kind === 'one step') expect(dumpContext(scene.ctx)).toEqual(before);
      // What failed can be done again as if nothing had happened.
      const other = new Scene();
      run(scene);
      run(other);
      expect(dumpContext(scene.ctx)).toEqual(dumpContext(other.ctx));
    }
    expect(steps).toBe(kind === 'one step' ? 1 : STEPS_OF_ORPHAN);
  });

  it.each(OPERATIONS)('between two steps all is consistent: %s', (_title, run) => {
    const scene = new Scene();
    let checks = 0;
    scene.ctx.trx.onReserve = () => {
      checks++;
      expect(checkNamespace(scene.ctx)).toEqual([]);
    };
    run(scene);
    expect(checks).toBeGreaterThan(0);
  });

  it('only what frees or stays in place may use the reserve', () => {
    const freeing = OPERATIONS.filter(([, run]) => {
      const scene = new Scene();
      const reserve = scene.ctx.trx.reserve.bind(scene.ctx.trx);
      let all = true;
      scene.ctx.trx.reserve = (r: Reservation) => {
        all &&= r.freeing;
        reserve(r);
      };
      run(scene);
      return all;
    }).map(([title]) => title);
    expect(freeing).toEqual([
      'unlink',
      'unlink of the last name',
      'rmdir',
      'setattr',
      'touchAtime',
      'removexattr',
      'inactivate',
      'reclaimOrphans',
    ]);
  });
});

describe('a small region that runs full', () => {
  /** Adds things of all sizes until there is no space. Returns how many there are. */
  function fill(ns: NamespaceOps, round: number): number {
    let last: Ino = ROOT_INO;
    for (let i = 0; i < 100_000; i++) {
      const name = bytes(`${round} ${i} ${'n'.repeat((i * 37) % 240)}`);
      const before = checkableState(ns);
      const code = codeOf(() => {
        if (i % 3 === 0) ns.create(ROOT_INO, name, symlinkTo('t'.repeat(1 + ((i * 101) % 4095))));
        else if (i % 3 === 1) last = ns.create(ROOT_INO, name, DIRECTORY);
        else ns.setxattr(last, name.subarray(0, 200), new Uint8Array((i * 997) % 65536), 0);
      });
      if (code === 'ok') continue;
      expect(code).toBe('ENOSPC');
      expect(checkableState(ns)).toEqual(before);
      return i;
    }
    return expect.fail('the region never runs full');
  }

  const checkableState = (ns: NamespaceOps): number[] => [
    ns.inodes.entries(ROOT_INO),
    ns.inodes.nlink(ROOT_INO),
  ];

  function empty(ns: NamespaceOps): void {
    for (const { name, ino, type } of listDir(ns, ROOT_INO)) {
      if (type === DT_DIR) ns.rmdir(ROOT_INO, bytes(name));
      else ns.unlink(ROOT_INO, bytes(name));
      ns.inactivate(ino);
    }
  }

  it.each([256, 700])(
    '%d blocks: ENOSPC changes nothing, all can be removed, and it fits again',
    (blocks) => {
      const media = new HeapMedia(blocks, 256);
      const options: StoreOptions = {
        clock: new FakeClock(),
        layouts: { breakLayouts: () => {}, remapped: () => {} },
        interrupted: () => false,
        badBlocks: () => ({ count: 0, first: () => -1, lengthAt: () => 0 }),
      };
      const format = { label: 'full', uuid: Buffer.alloc(16, 3), created: 1 };
      let { context } = formatStore(media, format, options);
      mountNamespace(context).mkRoot(0, 0);
      const counts: number[] = [];
      for (let round = 1; round <= 3; round++) {
        const ns = mountNamespace(context);
        counts.push(fill(ns, 1));
        expect(checkNamespace(context)).toEqual([]);
        empty(ns);
        expect(checkNamespace(context)).toEqual([]);
        expect([context.counters.inodeCount, context.trees.xattr.count]).toEqual([1, 0]);
        context.trx.commit();
        context = openStore(media, options).context;
      }
      expect(counts[0]).toBeGreaterThan(10);
      expect(Math.abs(counts[2] - counts[1])).toBeLessThan(counts[1] / 4);
    },
  );
});
