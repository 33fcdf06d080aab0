import { readFileSync } from 'node:fs';
import type { z } from 'zod';
import { explain, failure } from './errors.js';
import { lineOfSyntaxError, linesOfJson } from './json-lines.js';
import { Scenario } from './scenario-schema.js';

/** Reads a scenario. A sentence with the line, and the field where there is one, for what is wrong with it. */
export function readScenario(file: string): Scenario {
  const asked = `run the scenario ${file}`;
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw explain(error, asked, file);
  }
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    const message = (error as Error).message;
    throw failure(asked, `line ${lineOfSyntaxError(text)} is no JSON (${message}); correct it`, error);
  }
  const parsed = Scenario.safeParse(document);
  if (parsed.success) return parsed.data;
  // A misspelled field is found twice: as one too many, and as one that is missing. The first says it better.
  const { issues } = parsed.error;
  const issue = issues.find(({ code }) => code === 'unrecognized_keys') ?? issues[0];
  throw failure(asked, issueText(issue, linesOfJson(text)));
}

/** "line 7, steps.2.ofset: there is no such field; ..." */
function issueText(issue: z.core.$ZodIssue, lines: ReadonlyMap<string, number>): string {
  const parent = issue.path.map(String);
  const unknown = issue.code === 'unrecognized_keys' ? issue.keys[0] : null;
  const field = unknown === null ? parent : [...parent, unknown];
  const found = unknown === null ? issue.message : 'there is no such field';
  const advice = 'see docs/scenario.schema.json, or "rmapfs scenario schema"';
  return `line ${lineOf(field, lines)}, ${field.join('.') || 'the whole'}: ${found}; ${advice}`;
}

/** A field that is missing has no line: that of the object it belongs to. */
function lineOf(field: readonly string[], lines: ReadonlyMap<string, number>): number {
  for (let depth = field.length; depth >= 0; depth--) {
    const line = lines.get(field.slice(0, depth).join('/'));
    if (line !== undefined) return line;
  }
  return 1;
}
