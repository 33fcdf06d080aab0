import { MessageChannel, type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import { afterEach, describe, expect, it } from 'vitest';
import { SHARED, type ToCore } from '../../src/daemon/bridge.js';
import { CoreLink } from '../../src/daemon/core-link.js';

let close: (() => void) | null = null;
afterEach(() => close?.());

/** A core that looks at its messages only when it is woken, and sleeps through the first `deaf` wakes. */
function fakeCore(deaf = 0) {
  const channel = new MessageChannel();
  const shared = new Int32Array(new SharedArrayBuffer(SHARED.slots * 4));
  const core = { wakes: 0, received: [] as ToCore[], shared, port: channel.port2 as MessagePort };
  const wake = (tid: number): void => {
    expect(tid).toBe(123);
    core.wakes++;
    if (core.wakes <= deaf) return;
    for (;;) {
      const message = receiveMessageOnPort(channel.port2);
      if (message === undefined) break;
      core.received.push(message.message);
      Atomics.add(shared, SHARED.ack, 1);
    }
  };
  const link = new CoreLink(channel.port1, shared, wake);
  close = () => {
    link.close();
    channel.port1.close();
  };
  return { link, core };
}

describe('CoreLink', () => {
  it('wakes the core until it has handled the message', async () => {
    const { link, core } = fakeCore(5);
    core.shared[SHARED.coreTid] = 123;
    const posted = link.post({ type: 'writtenback', id: 1, failed: null });
    expect(link.idle).toBe(false);
    await posted;
    expect(core.received).toEqual([{ type: 'writtenback', id: 1, failed: null }]);
    expect(core.wakes).toBe(6);
    expect(link.idle).toBe(true);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(core.wakes).toBe(6);
  });

  it('settles each post in order, and none before the core has handled it', async () => {
    const { link, core } = fakeCore(3);
    core.shared[SHARED.coreTid] = 123;
    const order: number[] = [];
    const posts = [1, 2, 3].map((id) =>
      link.post({ type: 'writtenback', id, failed: null }).then(() => {
        expect(core.received.map((message) => message.type === 'writtenback' && message.id)).toContain(id);
        order.push(id);
      }),
    );
    await Promise.all(posts);
    expect(order).toEqual([1, 2, 3]);
  });

  it('waits for a core that has no thread id yet', async () => {
    const { link, core } = fakeCore();
    const posted = link.post({ type: 'shutdown', reason: 'x' });
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(core.wakes).toBe(0);
    core.shared[SHARED.coreTid] = 123;
    await posted;
    expect(core.received).toEqual([{ type: 'shutdown', reason: 'x' }]);
  });

  it('counts across the end of the 32-bit counters', async () => {
    const { link, core } = fakeCore();
    core.shared[SHARED.coreTid] = 123;
    core.shared[SHARED.posted] = 0x7fff_ffff;
    core.shared[SHARED.ack] = 0x7fff_ffff;
    await link.post({ type: 'writtenback', id: 1, failed: null });
    await link.post({ type: 'writtenback', id: 2, failed: null });
    expect(core.shared[SHARED.posted]).toBe(-0x7fff_ffff);
    expect(link.idle).toBe(true);
  });

  it('stops waking after close', async () => {
    const { link, core } = fakeCore(Number.POSITIVE_INFINITY);
    core.shared[SHARED.coreTid] = 123;
    void link.post({ type: 'shutdown', reason: 'x' });
    link.close();
    const before = core.wakes;
    void link.post({ type: 'shutdown', reason: 'x' });
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(core.wakes).toBe(before);
  });
});
