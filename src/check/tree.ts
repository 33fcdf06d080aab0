import type { BTree } from '../engine/btree.js';
import { walkTree } from './walk.js';

/** What a walk over one tree of a running engine found wrong; [] for a sound tree. Reads every node. */
export function checkTree(tree: BTree): string[] {
  const found: string[] = [];
  const { media, spec, root, height } = tree;
  let records = 0;
  const bad = (block: number, text: string): void => {
    found.push(`tree ${spec.name}, block ${block}: ${text}`);
  };
  walkTree({
    media,
    spec,
    root,
    height,
    unusable(block, level) {
      tree.nodes.check(block, spec.id, level);
      return tree.nodes.isUsed(block) ? null : 'is not marked as used';
    },
    lost: bad,
    wrong: bad,
    leaf(_block, count) {
      records += count;
    },
  });
  if (records !== tree.count) found.push(`tree ${spec.name}: counts ${tree.count} records, has ${records}`);
  return found;
}
