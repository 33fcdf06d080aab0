import { constants } from 'node:os';
import { describe, expect, it } from 'vitest';
import { CONTROL } from '../../src/exchange.js';
import { OPCODE } from '../../src/fuse/abi.js';
import { Channel, type ChannelHooks, type FuseDevice } from '../../src/fuse/channel.js';
import { gather } from '../support/answer.js';

const { ENODEV, EINTR, EINVAL, ENOENT, EIO } = constants.errno;

/** Hands out scripted requests (bytes, or an errno) and keeps what was answered. */
class ScriptedDevice implements FuseDevice {
  readonly log: string[] = [];
  /** The error field of each answer. */
  readonly errors: number[] = [];
  failNextWrite = 0;
  /** Of answers that point outside of their memory. */
  throwNext = 0;
  readonly #script: (Buffer | number)[];

  constructor(script: (Buffer | number)[]) {
    this.#script = script;
  }

  bind(answer: Buffer, request: Buffer, control: Int32Array): () => void {
    return () => {
      control[CONTROL.writeErrno] = 0;
      if (control[CONTROL.answerBytes] > 0) {
        if (this.throwNext-- > 0) throw new Error('the answer lies outside of its memory');
        const header = gather(answer, control, []);
        const unique = `${header.readBigUInt64LE(8)}`;
        this.errors.push(header.readInt32LE(4));
        this.log.push(`${control[CONTROL.wait] === 0 ? 'sent' : 'answered'} ${unique}`);
        control[CONTROL.writeErrno] = this.failNextWrite;
        this.failNextWrite = 0;
      }
      if (control[CONTROL.wait] === 1) control[CONTROL.received] = this.#next(request);
    };
  }

  #next(request: Buffer): number {
    const next = this.#script.shift() ?? ENODEV;
    if (typeof next === 'number') return -next;
    return next.copy(request);
  }
}

function requestBytes(opcode: number, unique: number, body: Buffer): Buffer {
  const header = Buffer.alloc(40);
  header.writeUInt32LE(40 + body.length, 0);
  header.writeUInt32LE(opcode, 4);
  header.writeBigUInt64LE(BigInt(unique), 8);
  header.writeBigUInt64LE(1n, 16);
  return Buffer.concat([header, body]);
}

const init = (): Buffer => {
  const body = Buffer.alloc(64);
  body.writeUInt32LE(7, 0);
  body.writeUInt32LE(45, 4);
  body.writeUInt32LE(131072, 8);
  body.writeUInt32LE(0xffffffff, 12);
  body.writeUInt32LE(0xffffffff, 16);
  return requestBytes(OPCODE.INIT, 2, body);
};
const getattr = (unique: number): Buffer => requestBytes(OPCODE.GETATTR, unique, Buffer.alloc(16));

function run(script: (Buffer | number)[], waiting = () => false, lost: () => string | null = () => null) {
  const device = new ScriptedDevice(script);
  const logged: string[] = [];
  const hooks: ChannelHooks = {
    ready: () => device.log.push('ready'),
    waiting,
    poll: () => device.log.push('poll'),
    again: () => null,
    served: () => {},
    lost,
    log: (_level, text) => logged.push(text),
  };
  const channel = new Channel(device, hooks);
  const end = (): unknown =>
    channel.run({
      handle: (_request, reply) => {
        device.log.push('handled');
        reply.error(EIO);
      },
    });
  return { device, logged, end };
}

describe('the channel', () => {
  it('answers each request with the read of the next one, and ends cleanly with the mount', () => {
    const { device, end, logged } = run([init(), getattr(4), EINTR, getattr(6), ENODEV]);
    expect(end()).toEqual({ clean: true, reason: 'unmounted' });
    expect(device.log).toEqual(['ready', 'answered 2', 'handled', 'answered 4', 'handled', 'answered 6']);
    expect(logged).toEqual([]);
  });

  it('sends an answer before it looks at messages', () => {
    let asked = 0;
    const { device, end } = run([init(), getattr(4), ENODEV], () => ++asked === 3);
    end();
    expect(device.log).toEqual(['ready', 'answered 2', 'handled', 'sent 4', 'poll']);
  });

  it('passes over an answer that nobody waits for, and logs any other failure once', () => {
    const { device, end, logged } = run([init(), getattr(4), getattr(6), ENODEV]);
    device.failNextWrite = ENOENT;
    end();
    expect(logged).toEqual([]);
    const other = run([init(), getattr(4), ENODEV]);
    other.device.failNextWrite = EIO;
    other.end();
    expect(other.logged).toEqual(['cannot answer request 2: EIO; it gets EIO']);
  });

  it('answers EIO where the answer cannot be sent, and serves on', () => {
    const refused = run([init(), getattr(4), getattr(6), ENODEV]);
    refused.device.throwNext = 1;
    expect(refused.end()).toEqual({ clean: true, reason: 'unmounted' });
    expect(refused.device.log).toEqual([
      'ready',
      'answered 2',
      'handled',
      'answered 4',
      'handled',
      'answered 6',
    ]);
    expect(refused.device.errors).toEqual([-EIO, -EIO, -EIO]);
    expect(refused.logged).toEqual([
      'cannot answer request 2: the answer lies outside of its memory; it gets EIO',
    ]);
    const failed = run([init(), getattr(4), ENODEV]);
    failed.device.failNextWrite = EINVAL;
    expect(failed.end()).toEqual({ clean: true, reason: 'unmounted' });
    expect(failed.device.log).toEqual(['ready', 'answered 2', 'sent 2', 'handled', 'answered 4']);
    expect(failed.device.errors).toEqual([0, -EIO, -EIO]);
  });

  it('answers EIO and ends when the handler can be trusted no more, and never sends what it had', () => {
    let handled = 0;
    const { device, end } = run([init(), getattr(4), getattr(6)], undefined, () =>
      ++handled > 1 ? 'the region is gone' : null,
    );
    expect(end()).toEqual({ clean: false, reason: 'the region is gone' });
    expect(device.log.filter((what) => what === 'handled')).toHaveLength(1);
    expect(device.log.at(-1)).toBe('sent 4');
  });

  it('ends when the device fails', () => {
    expect(run([init(), EIO]).end()).toEqual({ clean: false, reason: 'reading /dev/fuse failed: EIO' });
    expect(run([init(), Buffer.alloc(0)]).end()).toEqual({
      clean: false,
      reason: 'reading /dev/fuse gave nothing',
    });
    expect(run([getattr(4)]).end()).toMatchObject({ clean: false });
  });
});
