import { z } from 'zod';
import { POLICY_NAMES } from './arguments.js';

/** The scenario file. docs/scenario.schema.json is made from this: `rmapfs scenario schema`. */

const bytes = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);
const path = z.string().min(1);
const seed = z.number().int().nonnegative().max(0xffff_ffff);
const positive = z.number().int().positive().max(1_000_000_000);

const manner = {
  policy: z.enum(POLICY_NAMES).optional().describe('who is told; default: as mounted'),
  latent: z.boolean().optional().describe('nobody notices until the blocks are read'),
};
const owner = path.optional().describe('blocks of this file only; relative to the mount');
const range = {
  file: path.optional().describe('the offset is one in this file, relative to the mount; else in the region'),
  offset: bytes.describe('bytes, a multiple of 4096'),
  length: bytes.describe('bytes, a multiple of 4096'),
};
const timeoutMs = positive.optional().describe('the scenario fails when it takes longer; default 60000');

export const ScenarioStep = z.discriminatedUnion('do', [
  z.strictObject({ do: z.literal('poison'), ...range, ...manner }),
  z.strictObject({
    do: z.literal('poison-random'),
    count: positive,
    seed: seed.optional(),
    owner,
    ...manner,
  }),
  z.strictObject({ do: z.literal('poison-every-nth'), n: positive, owner, ...manner }),
  z.strictObject({ do: z.literal('poison-owner'), owner: path, ...manner }),
  z.strictObject({ do: z.literal('unpoison'), ...range }),
  z.strictObject({ do: z.literal('wait'), ms: z.number().int().nonnegative().max(86_400_000) }),
  z.strictObject({ do: z.literal('wait-file'), path: path.describe('relative to the mount'), timeoutMs }),
  z.strictObject({
    do: z.literal('wait-event'),
    type: z.enum([
      'media-error',
      'data-lost',
      'healed',
      'metadata-repaired',
      'shutdown',
      'remount-with-bad-blocks',
    ]),
    count: positive.optional().describe('so many since the scenario began; default 1'),
    timeoutMs,
  }),
  z.strictObject({
    do: z.literal('wait-process'),
    pid: positive.optional(),
    pidFile: path.optional().describe('a file that holds the pid; relative to the mount'),
    timeoutMs,
  }),
]);
export type ScenarioStep = z.infer<typeof ScenarioStep>;

export const Scenario = z.strictObject({
  $schema: z.string().optional(),
  title: z.string().optional(),
  seed: seed
    .optional()
    .describe('of poison-random steps that have none; default: a new one, which is printed'),
  steps: z.array(ScenarioStep).min(1).max(10_000),
});
export type Scenario = z.infer<typeof Scenario>;

/** The published JSON schema. */
export const scenarioJsonSchema = (): object => ({
  $id: 'scenario.schema.json',
  title: 'rmapfs scenario',
  ...z.toJSONSchema(Scenario),
});
