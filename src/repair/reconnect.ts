import { nameHash } from '../engine/hash.js';
import { isDirectory, S_IFDIR, typeOf } from '../engine/mode.js';
import { assert, FsError } from '../errors.js';
import { HASH_COLLISIONS_MAX } from '../limits.js';
import { MAX_INO, ROOT_INO } from '../types.js';
import { addEntry, isUnnamed, namedBy, nameOf, removeEntry } from './names.js';
import { madeFacts, type Repair } from './state.js';

const NAME = 'lost+found';
/** As e2fsck makes it: what lies in it may have been out of reach for others. */
const MODE = S_IFDIR | 0o700;

/** Hangs what no name leads to below /lost+found, directories with all that is below them. */
export function reconnect(r: Repair): void {
  cutCircles(r);
  const lost = [...r.facts].filter(([ino, facts]) => isUnnamed(ino, facts)).map(([ino]) => ino);
  if (lost.length === 0) return;
  const place = new LostAndFound(r);
  for (const ino of lost) place.add(ino);
}

/** Directories that lead to each other and not to the root: the lowest one of a circle loses its name. */
function cutCircles(r: Repair): void {
  const reached = new Set<number>([ROOT_INO]);
  const cut: number[] = [];
  for (const [ino, facts] of r.facts) {
    if (!isDirectory(facts.mode)) continue;
    const way: number[] = [];
    const own = new Set<number>();
    let at = ino;
    while (!reached.has(at) && !own.has(at) && at !== 0) {
      way.push(at);
      own.add(at);
      at = r.facts.get(at)?.parent ?? 0;
    }
    if (own.has(at)) cut.push(way.slice(way.indexOf(at)).reduce((a, b) => Math.min(a, b)));
    for (const dir of way) reached.add(dir);
  }
  if (cut.length === 0) return;
  const circles = new Set(cut);
  const keys = [...r.drafts.dirent.records()].filter(({ value }) => circles.has(namedBy(value)));
  for (const { key, value } of keys) {
    removeEntry(r, key, `leads from directory ${key[0]} in a circle`);
    const [dir, facts] = [r.facts.get(key[0]), r.facts.get(namedBy(value))];
    if (dir === undefined || facts === undefined) continue;
    dir.entries--;
    dir.subdirs--;
    facts.names = 0;
    facts.parent = 0;
  }
}

class LostAndFound {
  readonly #repair: Repair;
  readonly #dir: number;

  constructor(repair: Repair) {
    this.#repair = repair;
    this.#dir = this.#find() ?? this.#make();
  }

  add(ino: number): void {
    const facts = this.#repair.facts.get(ino);
    assert(facts !== undefined, 'what is put into lost+found exists');
    const name = this.#attach(this.#dir, ino, facts.mode, `${ino}`);
    this.#repair.actions.add('dirent', `inode ${ino}, which nothing led to, is ${NAME}/${name}`, { ino });
  }

  /** Adds an entry with the name, or, where that is taken, with the name and a number. */
  #attach(dir: number, ino: number, mode: number, wanted: string): string {
    const { facts } = this.#repair;
    let name = wanted;
    for (let n = 1; !addEntry(this.#repair, dir, Buffer.from(name), ino, typeOf(mode)); n++) {
      name = `${wanted}.${n}`;
    }
    const [above, own] = [facts.get(dir), facts.get(ino)];
    assert(above !== undefined && own !== undefined, 'an entry leads from a directory to an inode');
    above.entries++;
    own.names++;
    if (isDirectory(mode)) {
      above.subdirs++;
      own.parent = dir;
    }
    return name;
  }

  #find(): number | null {
    const name = Buffer.from(NAME);
    for (let seq = 0; seq < HASH_COLLISIONS_MAX; seq++) {
      const payload = this.#repair.drafts.dirent.get([ROOT_INO, nameHash(name), seq]);
      if (payload === undefined || !Buffer.from(nameOf(payload)).equals(name)) continue;
      const ino = namedBy(payload);
      return isDirectory(this.#repair.facts.get(ino)?.mode ?? 0) ? ino : null;
    }
    return null;
  }

  #make(): number {
    const ino = this.#freeNumber();
    this.#repair.facts.set(ino, madeFacts(MODE));
    this.#repair.lostAndFound = ino;
    const name = this.#attach(ROOT_INO, ino, MODE, NAME);
    this.#repair.actions.add('dirent', `/${name} is made for what nothing leads to`, { ino });
    return ino;
  }

  #freeNumber(): number {
    if (this.#repair.lastIno < MAX_INO) return ++this.#repair.lastIno;
    for (let ino = 2; ino <= MAX_INO; ino++) if (!this.#repair.facts.has(ino)) return ino;
    throw new FsError('ENOSPC', 'repair', 'all inode numbers are in use');
  }
}
