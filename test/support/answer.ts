import { segmentOf } from '../../src/engine/read.js';
import { CONTROL, type newControl, SEGMENT_WORDS, tableOf } from '../../src/exchange.js';
import type { Reply } from '../../src/fuse/reply.js';

/** The bytes that a control record describes, as writev(2) would send them. */
export function gather(
  answer: Buffer,
  control: ReturnType<typeof newControl>,
  sources: readonly Buffer[],
): Buffer {
  const plan = { table: tableOf(control), segments: control[CONTROL.segments], bytes: 0 };
  const segments = Array.from({ length: plan.segments }, (_, i) => segmentOf(sources, plan, i));
  segments.forEach((segment, i) => {
    if (segment.length !== plan.table[i * SEGMENT_WORDS + 2])
      throw new Error('a segment ends outside its source');
  });
  return Buffer.concat([answer.subarray(0, control[CONTROL.answerBytes]), ...segments]);
}

/** Takes the finished answer, as the channel does; null when there is none. */
export function takeAnswer(reply: Reply, sources: readonly Buffer[] = []): Buffer | null {
  if (reply.control[CONTROL.answerBytes] === 0) return null;
  const message = gather(reply.buffer, reply.control, sources);
  reply.control[CONTROL.answerBytes] = 0;
  return message;
}
