import type { Command } from 'commander';
import { Option } from 'commander';
import { jsonOption } from './arguments.js';
import type { CliEnvironment } from './environment.js';
import { onMount } from './on-mount.js';
import { counted, printJson } from './output.js';
import { newSeed, parseSeed } from './random.js';
import { readScenario } from './scenario-file.js';
import { ScenarioRun, type StepDone } from './scenario-run.js';
import { scenarioJsonSchema } from './scenario-schema.js';

interface Options {
  seed?: number;
  json?: boolean;
}

const EXAMPLE = `
Example:
  $ cat two-errors.json
  { "seed": 7,
    "steps": [
      { "do": "wait-file", "path": "ready" },
      { "do": "poison-random", "count": 2, "owner": "data" },
      { "do": "wait-event", "type": "healed" } ] }
  $ rmapfs scenario run two-errors.json /mnt/pmem

The same file with the same seed on the same contents does the same; the seed is printed. Paths are relative to DIR.`;

export function registerScenario(program: Command, env: CliEnvironment): void {
  const scenario = program
    .command('scenario')
    .description('replay a list of faults, waits and conditions')
    .addHelpText('after', '\nExample:\n  $ rmapfs scenario run two-errors.json /mnt/pmem');
  scenario
    .command('run')
    .description('run the steps of a file on a mount')
    .argument('<file>', 'the scenario (JSON, see docs/scenario.schema.json)')
    .argument('<dir>', 'the mount point')
    .addOption(new Option('--seed <n>', 'instead of the seed in the file').argParser(parseSeed))
    .addOption(jsonOption())
    .addHelpText('after', EXAMPLE)
    .action((file: string, dir: string, options: Options) => runScenario(env, file, dir, options));
  scenario
    .command('schema')
    .description('print the JSON schema of scenario files')
    .addHelpText('after', '\nExample:\n  $ rmapfs scenario schema > scenario.schema.json')
    .action(() => printJson(env, scenarioJsonSchema()));
}

async function runScenario(env: CliEnvironment, file: string, dir: string, options: Options): Promise<void> {
  const scenario = readScenario(file);
  const seed = options.seed ?? scenario.seed ?? newSeed();
  const task = { path: dir, asked: `run the scenario ${file} on ${dir}` };
  await onMount(env, task, async (client) => {
    const run = new ScenarioRun(env, client, dir, scenario, seed);
    const steps: StepDone[] = [];
    if (!options.json) await env.write(`${scenario.title ?? file}, seed ${seed}\n`);
    for (const [index, step] of scenario.steps.entries()) {
      const done = await run.run(step, index);
      steps.push(done);
      if (!options.json) await env.write(`${stepText(done)}\n`);
    }
    if (options.json) await printJson(env, { file, title: scenario.title, seed, steps });
  });
}

/** One line: what was asked, and in short what it did. */
function stepText(done: StepDone): string {
  const { step, do: name, report, reports, ranges, candidates, ...fields } = done;
  const asked = Object.entries(fields).map(([field, value]) => `${field} ${String(value)}`);
  const all = [report, reports].flat().filter((found) => found !== undefined) as {
    length: number;
    victims: unknown[];
  }[];
  const bytes = all.reduce((sum, found) => sum + found.length, 0);
  const victims = all.reduce((sum, found) => sum + found.victims.length, 0);
  const result = all.length > 0 ? `: ${bytes} bytes, ${counted(victims, 'victim')}` : '';
  return `${step}. ${name} ${asked.join(', ')}${result}`.trimEnd();
}
