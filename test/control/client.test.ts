import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ControlClient } from '../../src/control/client.js';
import { WHOLE_DEVICE } from '../../src/control/codec.js';
import { ControlError } from '../../src/control/error.js';
import { EXTENT_FLAG, FSMAP_OWNER } from '../../src/control/protocol.js';
import type { PoisonDocument } from '../../src/control/schema.js';
import { FakeMount, INFO } from './fake-mount.js';

let fake: FakeMount;
let client: ControlClient;

beforeEach(() => {
  fake = new FakeMount();
  client = ControlClient.open(fake.directory, 'r', fake.system);
});
afterEach(() => {
  client.close();
  fake.remove();
});

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof ControlError) return error.code;
    throw error;
  }
  return 'none';
}

const POISON: PoisonDocument = {
  physical: 4096,
  length: 4096,
  latent: false,
  owners: [
    {
      kind: 'file',
      ino: 5,
      paths: ['/a'],
      fileOffset: 0,
      physical: 4096,
      length: 4096,
      fork: 'data',
      shareCount: 1,
      open: true,
    },
  ],
  victims: [
    {
      pid: 1,
      tid: 1,
      comm: 'v',
      ino: 5,
      address: '0x7f0000001000',
      lsb: 12,
      signal: 'SIGBUS',
      code: 'BUS_MCEERR_AO',
      means: 'ptrace',
      result: 'delivered',
    },
  ],
  shutdown: false,
};

describe('opening', () => {
  test('reads the info document', () => {
    expect(client.info()).toEqual(INFO);
  });

  test('a path on another filesystem is ENOTTY', () => {
    fake.filesystemType = 0xef53;
    expect(codeOf(() => ControlClient.open(fake.directory, 'r', fake.system))).toBe('ENOTTY');
  });

  test.each(['ENOTTY', 'ENOSYS'])('another FUSE filesystem (%s) is ENOTTY', (code) => {
    fake.failures.set('report', code);
    expect(codeOf(() => ControlClient.open(fake.directory, 'r', fake.system))).toBe('ENOTTY');
  });

  test('errors of the path and of a dead daemon keep their code', () => {
    expect(codeOf(() => ControlClient.open(`${fake.directory}/none`, 'r', fake.system))).toBe('ENOENT');
    fake.failures.set('report', 'ENOTCONN');
    expect(codeOf(() => ControlClient.open(fake.directory, 'r', fake.system))).toBe('ENOTCONN');
  });

  test('an info document of another form is EPROTO, with the field', () => {
    fake.info = { ...INFO, size: 'large' };
    expect(() => client.info()).toThrow(/size/);
    expect(codeOf(() => client.info())).toBe('EPROTO');
  });

  test('fields of a later version are kept', () => {
    fake.info = { ...INFO, later: 1 };
    expect(client.info()).toHaveProperty('later', 1);
  });
});

describe('documents', () => {
  test('come in pages of any size', () => {
    for (const bytes of [1, 7, 100]) {
      fake.pageBytes = bytes;
      expect(client.info()).toEqual(INFO);
    }
  });

  test('a report of poison is read by its id', () => {
    fake.poisoned = POISON;
    fake.pageBytes = 50;
    const request = { offset: 4096, length: 4096, flags: 0, policy: 0 };
    expect(client.poison(request)).toEqual(POISON);
    expect(fake.requests('poison')).toEqual([request]);
  });

  test('the whole device is passed on', () => {
    fake.poisoned = POISON;
    client.poison({ offset: 0, length: WHOLE_DEVICE, flags: 1, policy: 1 });
    expect(fake.requests('poison')).toEqual([{ offset: 0, length: WHOLE_DEVICE, flags: 1, policy: 1 }]);
  });

  test('one that stops in the middle is an error, not a hang', () => {
    fake.pageBytes = 0;
    expect(codeOf(() => client.info())).toBe('EPROTO');
  });
});

describe('paging', () => {
  const extents = Array.from({ length: 7 }, (_, i) => ({
    fileOffset: i * 8192,
    physical: 65536 - i * 4096,
    length: 4096,
    flags: i === 6 ? EXTENT_FLAG.last : EXTENT_FLAG.shared,
  }));

  test('extents', () => {
    fake.extents = extents;
    expect([...client.extents()].flat()).toEqual(extents);
    expect(fake.requests('extents')).toEqual([0, 12288, 28672, 45056]);
    fake.extents = [];
    expect([...client.extents()]).toEqual([]);
  });

  test('fsmap, with many owners of one block', () => {
    fake.fsmap = [
      { physical: 0, length: 4096, owner: FSMAP_OWNER.superblock, fileOffset: 0, flags: 0, detail: 0 },
      ...Array.from({ length: 5 }, (_, i) => ({
        physical: 4096,
        length: 4096,
        owner: 2 + Math.floor(i / 2),
        fileOffset: (i % 2) * 4096,
        flags: 1,
        detail: 5,
      })),
    ];
    expect([...client.fsmap()].flat()).toEqual(fake.fsmap);
  });

  test('owners, also one that fits into no page', () => {
    fake.owners = Array.from({ length: 5 }, (_, i) => ({ kind: 'free', physical: i * 4096, length: 4096 }));
    expect([...client.owners(0, 4096)].map((page) => page.length)).toEqual([2, 2, 1]);
    expect([...client.owners(0, WHOLE_DEVICE)].flat()).toEqual(fake.owners);
    fake.ownersAreLong = true;
    expect([...client.owners(0, 4096)].flat()).toEqual(fake.owners);
    fake.pageRecords = 0;
    fake.ownersAreLong = false;
    expect(codeOf(() => [...client.owners(0, 4096)])).toBe('EPROTO');
    fake.owners = [];
    expect([...client.owners(0, 4096)]).toEqual([]);
  });

  test('bad blocks', () => {
    fake.bad = [0, 1, 2, 3, 4].map((i) => ({
      physical: i * 4096,
      length: 4096,
      latent: i === 1,
      since: 1000 + i,
    }));
    expect([...client.badBlocks()].flat()).toEqual(fake.bad);
  });

  test('an answer that does not move on is an error, not a hang', () => {
    fake.extents = extents.map((extent) => ({ ...extent, length: 0, fileOffset: 0 }));
    expect(codeOf(() => [...client.extents()])).toBe('EPROTO');
  });

  test('an early end of the loop asks no more', () => {
    fake.extents = extents;
    for (const page of client.extents()) {
      expect(page).toHaveLength(2);
      break;
    }
    expect(fake.requests('extents')).toEqual([0]);
  });
});

describe('clone and dedupe', () => {
  test('take a token on the source and show it on the destination', () => {
    const source = ControlClient.open(fake.file('src'), 'r', fake.system);
    const target = ControlClient.open(fake.file('dst'), 'r+', fake.system);
    const range = { srcOffset: 4096, dstOffset: 0, length: 8192 };
    target.clone(source, range);
    expect(fake.log.slice(-2)).toMatchObject([
      { name: 'cloneToken', path: source.path },
      { name: 'clone', path: target.path, request: range },
    ]);
    fake.dedupe = { bytesDeduped: 0, status: 1 };
    expect(target.dedupe(source, range)).toEqual({ bytesDeduped: 0, status: 1 });
    source.close();
    target.close();
  });
});
