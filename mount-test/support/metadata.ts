import type { OwnerDocument, PoisonDocument } from '../../src/control/schema.js';
import { control } from './control.js';
import type { Mounted } from './harness.js';
import { BLOCK } from './poison.js';

export const ownersOf = (m: Mounted): OwnerDocument[] =>
  control(m.dir, (client) => [...client.owners(0, Number.POSITIVE_INFINITY)].flat());

export const poison = (m: Mounted, physical: number, length = BLOCK): PoisonDocument =>
  control(m.dir, (client) => client.poison({ offset: physical, length, flags: 0, policy: 0 }));

/** Where a node of the tree lies now. */
export function nodeOf(m: Mounted, tree: string): number {
  const node = ownersOf(m).find((owner) => owner.kind === 'metadata' && owner.tree === tree);
  if (!node) throw new Error(`there is no node of the ${tree} tree`);
  return node.physical;
}
