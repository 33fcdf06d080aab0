import { NODE, NODE_HEADER_WORDS, TREES } from '../../src/engine/layout.js';
import { blockChecksum } from '../../src/engine/nodes.js';
import { probe } from '../../src/engine/superblock.js';
import type { Media } from '../../src/media/media.js';
import { asPhys } from '../../src/types.js';

/** What the last commit reaches and nobody may change before the next one is durable, as it was. */
interface Frozen {
  readonly txid: number;
  readonly blocks: ReadonlyMap<number, { what: string; bytes: Buffer }>;
}

const NOTHING: Frozen = { txid: -1, blocks: new Map() };
const { refcount } = TREES;

/**
 * Copy-on-write, held to from outside the engine: no word of a tree node of the last commit changes before the next
 * commit is durable, nor of a data block that the last commit says is shared: after a loss of power both are what
 * the last commit made them. The check knows the format only, not what the engine believes.
 */
export class FrozenBlocks {
  readonly #media: Media;
  #frozen = NOTHING;

  constructor(media: Media) {
    this.#media = media;
  }

  /** Throws when a frozen block has changed. For every moment at which power could go. */
  check(): void {
    for (const [block, { what, bytes }] of this.#frozen.blocks) {
      if (this.#media.bytes(asPhys(block), 1).equals(bytes)) continue;
      throw new Error(`block ${block}, ${what} of transaction ${this.#frozen.txid}, was changed in place`);
    }
  }

  /** To be told after each flush: a superblock that became durable says what is frozen from now on. */
  flushed(): void {
    const found = probe(this.#media);
    if (found.kind !== 'rmapfs') {
      this.#frozen = NOTHING;
      return;
    }
    const { txid, roots } = found.sb;
    if (txid === this.#frozen.txid) return;
    const blocks = new Map<number, { what: string; bytes: Buffer }>();
    const freeze = (block: number, what: string): void => {
      blocks.set(block, { what, bytes: Buffer.from(this.#media.bytes(asPhys(block), 1)) });
    };
    for (const spec of Object.values(TREES)) {
      const visit = (block: number, level: number): void => {
        if (!this.#isNode(block)) return;
        freeze(block, `a node of level ${level} of the ${spec.name} tree`);
        const words = this.#media.words(asPhys(block));
        const base = this.#media.wordIndex(asPhys(block));
        const first = base + NODE_HEADER_WORDS;
        const stride =
          level === 0 ? spec.keyWords + spec.valueWords : spec.keyWords + (spec.augmented ? 2 : 1);
        for (let i = 0; i < words[base + NODE.count]; i++) {
          const at = first + i * stride;
          if (level > 0) visit(words[at + spec.keyWords], level - 1);
          else if (spec === refcount) {
            for (let n = 0; n < words[at + 1]; n++) freeze(words[at] + n, 'a shared block');
          }
        }
      };
      const { root, height } = roots[spec.id];
      if (height > 0) visit(root, height - 1);
    }
    this.#frozen = { txid, blocks };
  }

  /** A region may be damaged on purpose: what cannot be told is not frozen. */
  #isNode(block: number): boolean {
    if (block <= 0 || block >= this.#media.blocks) return false;
    const crc = this.#media.words(asPhys(block))[this.#media.wordIndex(asPhys(block)) + NODE.crc];
    return crc === blockChecksum(this.#media.bytes(asPhys(block), 1), 'node');
  }
}
