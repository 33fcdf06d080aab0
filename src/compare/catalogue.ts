import { ARGUMENT_CASES } from './catalogue-arguments.js';
import { DATA_CASES } from './catalogue-data.js';
import { FULL_CASES } from './catalogue-full.js';
import { MAPPING_CASES } from './catalogue-mappings.js';
import { NAME_CASES } from './catalogue-names.js';

/** The named cases: a script for each (the lines of native/agent). */
export const CATALOGUE: Readonly<Record<string, readonly string[]>> = {
  ...ARGUMENT_CASES,
  ...DATA_CASES,
  ...MAPPING_CASES,
  ...NAME_CASES,
  ...FULL_CASES,
};
