import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { InvariantError } from '../../src/errors.js';
import { memoryMedia } from '../../src/media/memory.js';
import { asPhys, BLOCK_SIZE } from '../../src/types.js';
import { CrashMedia } from '../support/crash-media.js';

describe('memoryMedia', () => {
  test('words and bytes are views of the same memory, over every window', () => {
    const media = memoryMedia(11, { windowShift: 2 });
    for (let b = 0; b < 11; b++) media.words(asPhys(b))[media.wordIndex(asPhys(b)) + 3] = 0x0101_0101 * b;
    for (let b = 0; b < 11; b++) {
      expect([...media.bytes(asPhys(b), 1).subarray(8, 20)]).toEqual([
        ...[0, 0, 0, 0],
        ...[b, b, b, b],
        ...[0, 0, 0, 0],
      ]);
    }
  });

  test('contiguous ends at the window, bytes must not cross it', () => {
    const media = memoryMedia(11, { windowShift: 2 });
    expect(media.contiguous(asPhys(0), 11)).toBe(4);
    expect(media.contiguous(asPhys(3), 5)).toBe(1);
    expect(media.contiguous(asPhys(5), 2)).toBe(2);
    expect(media.bytes(asPhys(4), 4).length).toBe(4 * BLOCK_SIZE);
    expect(() => media.bytes(asPhys(3), 2)).toThrow(InvariantError);
    expect(() => media.bytes(asPhys(8), 4)).toThrow(InvariantError);
    expect(() => media.bytes(asPhys(11), 1)).toThrow(InvariantError);
    expect(() => media.words(asPhys(11))).toThrow(InvariantError);
    expect(() => media.noteDirty(asPhys(10), 2)).toThrow(InvariantError);
  });

  test('a read-only medium refuses to be dirty', () => {
    expect(() => memoryMedia(4, { readOnly: true }).noteDirty(asPhys(0), 1)).toThrow('EROFS');
  });
});

describe('crash states', () => {
  test('nothing noted is durable before a flush, all of it after', () => {
    const media = new CrashMedia(4);
    media.bytes(asPhys(1), 1).fill(1);
    media.noteDirty(asPhys(1), 1);
    expect(media.undecided().length).toBe(BLOCK_SIZE / 64);
    const nothing = media.crashImage({ mask: new Uint8Array(64) });
    expect(nothing.bytes(asPhys(0), 4).every((byte) => byte === 0)).toBe(true);
    media.flush();
    expect(media.undecided()).toEqual([]);
    expect(media.crashImage({ seed: 1 }).bytes(asPhys(1), 1)[4095]).toBe(1);
  });

  test('a write that was not noted stays in doubt after the flush', () => {
    const media = new CrashMedia(4);
    media.bytes(asPhys(2), 1)[70] = 9;
    media.noteDirty(asPhys(1), 1);
    media.flush();
    expect(media.undecided()).toEqual([2 * BLOCK_SIZE + 64]);
    expect(media.crashImage({ mask: Uint8Array.of(0) }).bytes(asPhys(2), 1)[70]).toBe(0);
    expect(media.crashImage({ mask: Uint8Array.of(1) }).bytes(asPhys(2), 1)[70]).toBe(9);
  });

  test('few granules: every state, once', () => {
    const media = new CrashMedia(2, { granuleBytes: 8 });
    const bytes = media.bytes(asPhys(0), 2);
    for (const at of [0, 8, 4096]) bytes[at] = 1;
    const states = [...media.crashImages(8)].map(({ media: image }) => {
      const after = image.bytes(asPhys(0), 2);
      return `${after[0]}${after[8]}${after[4096]}`;
    });
    expect(states.sort()).toEqual(['000', '001', '010', '011', '100', '101', '110', '111']);
  });

  test('many granules: as many states as asked, both extremes among them, and a seed repeats its own', () => {
    const media = new CrashMedia(8, { windowShift: 1 });
    for (let b = 0; b < 8; b++) media.bytes(asPhys(b), 1).fill(b + 1);
    const images = [...media.crashImages(20, 7)];
    expect(images.length).toBe(20);
    expect(new Set(images.map(({ name }) => name)).size).toBe(20);
    const sum = (at: number): number => images[at].media.bytes(asPhys(6), 2).reduce((a, b) => a + b, 0);
    expect([sum(0), sum(1)]).toEqual([0, BLOCK_SIZE * (7 + 8)]);
    const again = media.crashImage({ seed: 7 }).bytes(asPhys(6), 2);
    expect(images[2].media.bytes(asPhys(6), 2).equals(again)).toBe(true);
  });

  test('every granule of an image is the old one or the new one', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ at: fc.nat(4 * BLOCK_SIZE - 1), note: fc.boolean() }), { maxLength: 30 }),
        fc.nat(30),
        fc.integer(),
        (stores, flushAfter, seed) => {
          const media = new CrashMedia(4);
          const live = media.bytes(asPhys(0), 4);
          let old = Buffer.from(live);
          stores.forEach(({ at, note }, i) => {
            if (i === flushAfter) {
              media.flush();
              old = Buffer.from(
                media.crashImage({ mask: new Uint8Array(media.undecided().length) }).bytes(asPhys(0), 4),
              );
            }
            live[at]++;
            if (note) media.noteDirty(asPhys(Math.floor(at / BLOCK_SIZE)), 1);
          });
          const image = media.crashImage({ seed }).bytes(asPhys(0), 4);
          for (let at = 0; at < image.length; at += 64) {
            const line = image.subarray(at, at + 64);
            expect(line.equals(old.subarray(at, at + 64)) || line.equals(live.subarray(at, at + 64))).toBe(
              true,
            );
          }
        },
      ),
    );
  });

  test('flushes can be watched and made to fail', () => {
    const seen: number[] = [];
    const media = new CrashMedia(2, { beforeFlush: (n) => seen.push(n), failFromFlush: 1 });
    media.flush();
    media.bytes(asPhys(0), 1)[0] = 1;
    media.noteDirty(asPhys(0), 1);
    expect(() => media.flush()).toThrow('flush 1 fails');
    expect(media.undecided()).toEqual([0]);
    expect(seen).toEqual([0, 1]);
  });

  test('an image to start from is durable', () => {
    const image = Buffer.alloc(2 * BLOCK_SIZE, 5);
    const media = new CrashMedia(2, {}, image);
    image[0] = 6;
    expect(media.undecided()).toEqual([]);
    expect(media.crashImage({ seed: 0 }).bytes(asPhys(0), 1)[0]).toBe(5);
  });
});
