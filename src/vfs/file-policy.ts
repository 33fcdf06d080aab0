import { POLICIES, type Policy } from '../control/protocol.js';
import type { Engine } from '../engine/api.js';
import { FsError } from '../errors.js';
import type { Ino } from '../types.js';

/** The attribute by which a file says who is told when its memory fails. */
const POLICY_XATTR = Buffer.from('user.rmapfs.policy');

const NAMES: readonly string[] = POLICIES.filter((name) => name !== 'default');
const isPolicy = (text: string): text is Policy => NAMES.includes(text);

/** EINVAL when the attribute is the policy and the value is none. */
export function checkPolicyXattr(name: Uint8Array, value: Buffer): void {
  if (!POLICY_XATTR.equals(name) || isPolicy(value.toString('latin1'))) return;
  throw new FsError('EINVAL', 'setxattr', `a policy is one of ${NAMES.join(', ')}`);
}

/** What the file asks for, or null. */
export function policyOfFile(engine: Engine, ino: Ino): Policy | null {
  const value = engine.getxattr(ino, POLICY_XATTR);
  const text = value === null ? '' : Buffer.from(value).toString('latin1');
  return isPolicy(text) ? text : null;
}
