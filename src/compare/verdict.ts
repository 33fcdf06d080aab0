import os from 'node:os';
import { KNOWN, withoutTimes } from './known.js';

/** The same answers, a difference that is meant, or one that is not. */
export type Verdict = 'same' | 'differs' | { known: string };

/** Since Linux 6.13 XFS's times are exact enough that two operations never have the same. */
export function hasFineTimes(release: string): boolean {
  const [major, minor] = release.split('.').map(Number);
  return major > 6 || (major === 6 && minor >= 13);
}

const shown = hasFineTimes(os.release()) ? (answer: string) => answer : withoutTimes;

/** What the system calls of an agent are answered with when the daemon of its mount has ended. */
export const isLost = (answer: string): boolean => /^-1 (ENOTCONN|ECONNABORTED)\b/.test(answer);

/**
 * @param step one line and its answers
 * @param before the lines of the same script that were run before it
 */
export function judge(
  step: { line: string; xfs: string; rmapfs: string },
  before: readonly { line: string; known?: string }[],
): Verdict {
  const [xfs, rmapfs] = [shown(step.xfs), shown(step.rmapfs)];
  if (xfs === rmapfs) return 'same';
  // Nothing is meant to end the daemon, whatever came before.
  if (isLost(rmapfs)) return 'differs';
  const asked = { words: step.line.split(' '), xfs, rmapfs, before };
  const known = KNOWN.find((difference) => difference.is(asked));
  return known === undefined ? 'differs' : { known: known.id };
}
