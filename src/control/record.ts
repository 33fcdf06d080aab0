import { FsError } from '../errors.js';

/**
 * How the fields of a control record are written and read. A layout says for each field of a value what it is and at
 * which byte it lies; protocol.ts has the numbers, codec.ts the layouts.
 *
 * A 64-bit value is a JS number below 2^53; a larger one is EOVERFLOW when it is encoded and EINVAL when it is
 * decoded. The only exception is a length of 2^64-1: {@link WHOLE_DEVICE}.
 */

/** As a length of POISON or UNPOISON with offset 0: the whole device. 2^64-1 on the wire. */
export const WHOLE_DEVICE = Number.POSITIVE_INFINITY;

const U32 = 2 ** 32;
const U32_MAX = U32 - 1;

function putU64(record: Buffer, at: number, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new FsError('EOVERFLOW', 'control', `${value} is no number of bytes from 0 to 2^53 - 1`);
  }
  record.writeUInt32LE(value % U32, at);
  record.writeUInt32LE(Math.floor(value / U32), at + 4);
}

function getU64(record: Buffer, at: number): number {
  const value = record.readUInt32LE(at + 4) * U32 + record.readUInt32LE(at);
  if (!Number.isSafeInteger(value)) {
    throw new FsError('EINVAL', 'control', `the 64-bit field at byte ${at} is above 2^53 - 1`);
  }
  return value;
}

/** A field of a record that begins at byte `base` of a buffer. */
interface Field<T> {
  get(record: Buffer, base: number): T;
  put(record: Buffer, base: number, value: T): void;
}

export const u64 = (at: number): Field<number> => ({
  get: (record, base) => getU64(record, base + at),
  put: (record, base, value) => putU64(record, base + at, value),
});

export const u32 = (at: number): Field<number> => ({
  get: (record, base) => record.readUInt32LE(base + at),
  put: (record, base, value) => void record.writeUInt32LE(value, base + at),
});

export const i32 = (at: number): Field<number> => ({
  get: (record, base) => record.readInt32LE(base + at),
  put: (record, base, value) => void record.writeInt32LE(value, base + at),
});

/** A u32 that is 0 or not. */
export const flag = (at: number): Field<boolean> => ({
  get: (record, base) => record.readUInt32LE(base + at) !== 0,
  put: (record, base, value) => void record.writeUInt32LE(value ? 1 : 0, base + at),
});

/** A u64 that may be WHOLE_DEVICE. */
export const lengthOrAll = (at: number): Field<number> => ({
  get: (record, base) => {
    const whole =
      record.readUInt32LE(base + at) === U32_MAX && record.readUInt32LE(base + at + 4) === U32_MAX;
    return whole ? WHOLE_DEVICE : getU64(record, base + at);
  },
  put: (record, base, value) => {
    if (value === WHOLE_DEVICE) record.fill(0xff, base + at, base + at + 8);
    else putU64(record, base + at, value);
  },
});

/** Exactly `size` bytes; a copy when they are read. */
export const bytes = (at: number, size: number): Field<Uint8Array> => ({
  get: (record, base) => Buffer.from(record.subarray(base + at, base + at + size)),
  put: (record, base, value) => void view(value, size).copy(record, base + at),
});

/** Up to `most` bytes at `at`, and how many they are, a u32 at `countAt`. A copy when they are read. */
export const counted = (countAt: number, at: number, most: number): Field<Uint8Array> => ({
  get: (record, base) => {
    const count = record.readUInt32LE(base + countAt);
    if (count > most) {
      throw new FsError('EPROTO', 'control', `an answer claims ${count} bytes, more than a page can hold`);
    }
    return Buffer.from(record.subarray(base + at, base + at + count));
  },
  put: (record, base, value) => {
    if (value.length > most) throw new RangeError(`a page holds ${most} bytes, not ${value.length}`);
    record.writeUInt32LE(value.length, base + countAt);
    record.fill(0, base + at, base + at + most);
    record.set(value, base + at);
  },
});

/** The record as a Buffer over the same bytes. EINVAL when it has not exactly `size` bytes. */
export function view(record: Uint8Array, size: number): Buffer {
  if (record.length !== size) {
    throw new FsError('EINVAL', 'control', `a record of ${size} bytes was expected, found ${record.length}`);
  }
  return Buffer.from(record.buffer, record.byteOffset, record.length);
}

export type Layout<T> = { readonly [K in keyof T]-?: Field<T[K]> };

function keysOf<T>(layout: Layout<T>): (keyof T)[] {
  return Object.keys(layout) as (keyof T)[];
}

/** A value of several fields, as a field. */
function struct<T extends object>(layout: Layout<T>): Field<T> {
  const keys = keysOf(layout);
  return {
    get: (record, base) => {
      const value: Partial<T> = {};
      for (const key of keys) value[key] = layout[key].get(record, base);
      // Every key of the layout was assigned.
      return value as T;
    },
    put: (record, base, value) => {
      for (const key of keys) layout[key].put(record, base, value[key]);
    },
  };
}

/** Values one behind the other. */
export const array = <T>(
  count: number,
  stride: number,
  at: (at: number) => Field<T>,
): Field<readonly T[]> => {
  const fields = Array.from({ length: count }, (_, i) => at(i * stride));
  return {
    get: (record, base) => fields.map((field) => field.get(record, base)),
    put: (record, base, values) => {
      for (const [i, field] of fields.entries()) field.put(record, base, values[i]);
    },
  };
};

/** What is passed in: a new record of exactly the ioctl's size. */
export function request<T extends object>(size: number, layout: Layout<T>) {
  const fields = struct(layout);
  return {
    encode(value: T): Buffer {
      const record = Buffer.alloc(size);
      fields.put(record, 0, value);
      return record;
    },
    decode: (record: Uint8Array): T => fields.get(view(record, size), 0),
  };
}

/** What comes back, in the request's record: the fields that were passed in stay as they were. */
export function answer<T extends object>(size: number, layout: Layout<T>) {
  const fields = struct(layout);
  return {
    encode(into: Uint8Array, value: T): Buffer {
      const record = view(into, size);
      fields.put(record, 0, value);
      return record;
    },
    decode: (record: Uint8Array): T => fields.get(view(record, size), 0),
  };
}

/** One page of a longer answer. `last`: nothing comes after it. */
export interface Page<T> {
  records: T[];
  last: boolean;
}

interface PageLayout {
  readonly count: number;
  readonly last: number;
  readonly records: number;
  readonly record: { readonly size: number };
  readonly size: number;
}

/** How many records fit into a page. */
export const perPage = (page: PageLayout): number =>
  Math.floor((page.size - page.records) / page.record.size);

/** An answer that is a page of records. */
export function pageAnswer<T extends object>(page: PageLayout, layout: Layout<T>) {
  const fields = struct(layout);
  const most = perPage(page);
  return {
    encode(into: Uint8Array, { records, last }: Page<T>): Buffer {
      const record = view(into, page.size);
      if (records.length > most) throw new RangeError(`a page holds ${most} records, not ${records.length}`);
      record.writeUInt32LE(records.length, page.count);
      record.writeUInt32LE(last ? 1 : 0, page.last);
      record.fill(0, page.records);
      for (const [i, value] of records.entries())
        fields.put(record, page.records + i * page.record.size, value);
      return record;
    },
    decode(from: Uint8Array): Page<T> {
      const record = view(from, page.size);
      const count = record.readUInt32LE(page.count);
      if (count > most) {
        throw new FsError(
          'EPROTO',
          'control',
          `an answer claims ${count} records, more than a page can hold`,
        );
      }
      const records: T[] = [];
      for (let i = 0; i < count; i++) records.push(fields.get(record, page.records + i * page.record.size));
      return { records, last: record.readUInt32LE(page.last) !== 0 };
    },
  };
}
