import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { claimDirectory, claimUuid } from '../../src/daemon/uuid-claim.js';
import { failure } from '../support/failure.js';

const UUID = '00112233-4455-6677-8899-aabbccddeeff';
let base: string;
let directory: string;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'rmapfs-claims-'));
  directory = join(base, 'claims');
});

afterEach(() => rmSync(base, { recursive: true }));

describe('a uuid', () => {
  test("is one writer's, or any number of readers', and the refusal names who has it", () => {
    const writer = claimUuid(directory, UUID, 'process 7, /a', false);
    for (const readOnly of [true, false]) {
      const error = failure(() => claimUuid(directory, UUID, 'process 8, /b', readOnly));
      expect(error).toMatchObject({ code: 'EBUSY', message: expect.stringContaining('process 7, /a') });
    }
    claimUuid(directory, `1${UUID.slice(1)}`, 'process 9, /c', false)();
    writer();
    const readers = [1, 2].map((pid) => claimUuid(directory, UUID, `process ${pid}, /a`, true));
    expect(failure(() => claimUuid(directory, UUID, 'process 8, /b', false)).code).toBe('EBUSY');
    readers[0]();
    expect(failure(() => claimUuid(directory, UUID, 'process 8, /b', false)).code).toBe('EBUSY');
    readers[1]();
    expect(readdirSync(directory)).toEqual([]);
  });

  test('of a daemon that was killed is free: its file is there, its lock is not', () => {
    claimUuid(directory, UUID, 'process 7, /a', false)();
    writeFileSync(join(directory, `${UUID}.lock`), 'process 7, /a\n');
    claimUuid(directory, UUID, 'process 8, /b', false)();
  });

  test('is not claimed where there is no place for it', () => {
    expect(claimDirectory(0, {})).toBe('/run/rmapfs');
    expect(claimDirectory(1000, { XDG_RUNTIME_DIR: '/run/user/1000' })).toBe('/run/user/1000/rmapfs');
    expect(claimDirectory(1000, {})).toBeNull();
    claimUuid(null, UUID, 'process 7, /a', false)();
    claimUuid('/proc/no/such', UUID, 'process 7, /a', false)();
    expect(existsSync(directory)).toBe(false);
  });
});
