import { expect, it } from 'vitest';
import { checkRegion } from '../../src/check/region.js';
import { openEngine } from '../../src/engine/index.js';
import { FsError } from '../../src/errors.js';
import type { Media } from '../../src/media/media.js';
import { repairRegion } from '../../src/repair/repair.js';
import { bounded, buildField, changeAll, harm, isAnswer, randomBelow, readAll } from '../support/campaign.js';
import { FakeClock } from '../support/mem-context.js';

const SEED = Number(process.env.RMAPFS_SEED ?? 1);
const CASES = Number(process.env.RMAPFS_DAMAGED_REGIONS ?? 400);
/** The case to begin with. */
const FIRST = Number(process.env.RMAPFS_DAMAGED_FIRST ?? 0);
/** Some 20 times what a sound region takes. */
const STEPS = 20_000_000;

const field = buildField();
const clock = new FakeClock();
const seen = { mounted: 0, refused: 0, repaired: 0, lost: 0 };

/** A mount of what is damaged: all it does is an answer. */
function use(media: Media): void {
  try {
    const engine = openEngine(media, { clock });
    seen.mounted++;
    readAll(engine);
    changeAll(engine, true);
  } catch (error) {
    if (!isAnswer(error)) throw error;
    seen.refused++;
  }
}

/** After a repair all is well, and there is space and what was there. `isUsed`: a mount has changed it before. */
function repair(media: Media): void {
  try {
    checkRegion(media);
    const result = repairRegion(media, { dryRun: false, now: 7 });
    expect(result.left.map(({ detail }) => detail).join('; ')).toBe('');
  } catch (error) {
    if (!(error instanceof FsError)) throw error;
    seen.lost++;
    return;
  }
  seen.repaired++;
  expect(
    checkRegion(media)
      .problems.map(({ detail }) => detail)
      .join('; '),
  ).toBe('');
  const engine = openEngine(media, { clock });
  const { found } = readAll(engine);
  expect(engine.space().free).toBeGreaterThan(field.free / 2);
  expect(found.size).toBeGreaterThan(field.paths / 3);
  changeAll(engine, false);
  expect(
    checkRegion(media)
      .problems.map(({ detail }) => detail)
      .join('; '),
  ).toBe('');
}

it('a damaged region: an error or what was there, an end, and a repair that leaves all well', () => {
  const wrong: string[] = [];
  for (let n = FIRST; n < FIRST + CASES; n++) {
    const below = randomBelow(SEED * 1_000_003 + n);
    const media = bounded(field, STEPS);
    harm(media, field, below);
    try {
      if (below(2) === 0) use(media);
      repair(media);
    } catch (error) {
      wrong.push(`case ${n} of seed ${SEED}: ${error instanceof Error ? error.stack : String(error)}`);
    }
  }
  console.info(`damaged regions: ${CASES} from seed ${SEED}, ${JSON.stringify(seen)}`);
  expect(wrong).toEqual([]);
}, 3_600_000);
