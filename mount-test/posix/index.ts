import { aclCases } from './acl.js';
import { attributeCases } from './attributes.js';
import { dataCases } from './data.js';
import { limitCases } from './limits.js';
import { namespaceCases } from './namespace.js';
import type { PosixCases } from './place.js';
import { renameCases } from './rename.js';

/**
 * Every named case. Each runs on rmapfs and on kernel filesystems in one run: a case that those fail is a
 * wrong case.
 */
export const POSIX_CASES: PosixCases = {
  ...namespaceCases,
  ...renameCases,
  ...dataCases,
  ...attributeCases,
  ...aclCases,
  ...limitCases,
};
