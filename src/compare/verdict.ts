import { KNOWN } from './known.js';

/** The same answers, a difference that is meant, or one that is not. */
export type Verdict = 'same' | 'differs' | { known: string };

/**
 * @param step one line and its answers
 * @param before the lines of the same script that were run before it
 */
export function judge(
  step: { line: string; xfs: string; rmapfs: string },
  before: readonly { line: string; known?: string }[],
): Verdict {
  if (step.xfs === step.rmapfs) return 'same';
  const asked = { words: step.line.split(' '), xfs: step.xfs, rmapfs: step.rmapfs, before };
  const known = KNOWN.find((difference) => difference.is(asked));
  return known === undefined ? 'differs' : { known: known.id };
}
