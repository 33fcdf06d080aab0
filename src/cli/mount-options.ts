import { InvalidArgumentError } from 'commander';
import type { Policy } from '../control/protocol.js';
import { CACHE_POLICIES, type CachePolicy } from '../types.js';
import { POLICY_NAMES } from './arguments.js';

/** What `-o` asked for. */
export interface MountChoices {
  readOnly: boolean;
  allowOther: boolean;
  policy: Policy;
  /** The type is fuse.rmapfs; without, plain fuse. */
  subtype: boolean;
  /** A file (as the user named it), "syslog", or null for the usual place. */
  log: string | null;
  cache: CachePolicy;
  /** A copy of a region that is mounted may be mounted beside it. */
  nouuid: boolean;
  /** For mount(8), as they are. */
  extraOptions: string[];
}

export const DEFAULT_MOUNT_CHOICES: MountChoices = {
  readOnly: false,
  allowOther: false,
  policy: 'early',
  subtype: true,
  log: null,
  cache: 'auto',
  nouuid: false,
  extraOptions: [],
};

/** Generic options that mount(8) turns into flags of mount(2). */
const PASSED_ON = new Set([
  'async',
  'sync',
  'dirsync',
  'atime',
  'noatime',
  'diratime',
  'nodiratime',
  'relatime',
  'norelatime',
  'strictatime',
  'nostrictatime',
  'lazytime',
  'nolazytime',
  'dev',
  'nodev',
  'exec',
  'noexec',
  'suid',
  'nosuid',
  'iversion',
  'noiversion',
  'nosymfollow',
]);

/** For other programs (fstab(5), systemd), or the way it always is: nothing to do. */
const WITHOUT_EFFECT = new Set([
  'defaults',
  'default_permissions',
  'auto',
  'noauto',
  'nofail',
  'nouser',
  'noowner',
  'nogroup',
  '_netdev',
]);
/** Who may mount a line of fstab; each stands for noexec,nosuid,nodev too, unless something later takes that back. */
const FOR_USERS = new Set(['user', 'users', 'owner', 'group']);
const IMPLIED_FOR_USERS = ['noexec', 'nosuid', 'nodev'];
/** Ours are the region and "rmapfs". */
const NAMED_WITHOUT_EFFECT = /^(fsname=|subtype=|comment=|user=|uhelper=|helper=|x-|X-)/;

/** Parses one `-o` list on top of the ones before it (commander's collecting parser). */
export function parseMountOptions(list: string, before: MountChoices): MountChoices {
  const choices = { ...before, extraOptions: [...before.extraOptions] };
  for (const option of list.split(',')) {
    if (!applyOption(choices, option)) {
      throw new InvalidArgumentError(`There is no mount option '${option}'.`);
    }
  }
  return choices;
}

/** The same, with what is unknown passed over (mount(8), -s). */
export function parseSloppily(list: string, before: MountChoices): MountChoices {
  const choices = { ...before, extraOptions: [...before.extraOptions] };
  for (const option of list.split(',')) applyOption(choices, option);
  return choices;
}

/** Returns whether there is such an option. */
function applyOption(choices: MountChoices, option: string): boolean {
  if (option === '' || WITHOUT_EFFECT.has(option) || NAMED_WITHOUT_EFFECT.test(option)) return true;
  const [name, value] = splitOption(option);
  if (option === 'ro' || option === 'rw') choices.readOnly = option === 'ro';
  else if (option === 'allow_other') choices.allowOther = true;
  else if (option === 'nouuid') choices.nouuid = true;
  else if (option === 'nosubtype') choices.subtype = false;
  else if (name === 'policy' && value !== null) choices.policy = parsePolicy(value);
  else if (name === 'log' && value) choices.log = value;
  else if (name === 'cache' && value !== null) choices.cache = parseCache(value);
  else if (PASSED_ON.has(option)) choices.extraOptions.push(option);
  else if (FOR_USERS.has(option)) choices.extraOptions.push(...IMPLIED_FOR_USERS);
  else return false;
  return true;
}

function splitOption(option: string): [name: string, value: string | null] {
  const at = option.indexOf('=');
  return at < 0 ? [option, null] : [option.slice(0, at), option.slice(at + 1)];
}

/** What mount(2) changes on a mount that exists: the flags of a list, with ro or rw among them. */
export function remountFlags(list: string): string[] {
  return list.split(',').filter((option) => option === 'ro' || option === 'rw' || PASSED_ON.has(option));
}

function parsePolicy(name: string): Policy {
  const policy = POLICY_NAMES.find((known) => known === name);
  if (policy === undefined) {
    throw new InvalidArgumentError(`'${name}' is no policy; there are ${POLICY_NAMES.join(', ')}.`);
  }
  return policy;
}

function parseCache(name: string): CachePolicy {
  const cache = CACHE_POLICIES.find((known) => known === name);
  if (cache === undefined) {
    throw new InvalidArgumentError(`cache=${name} is none of ${CACHE_POLICIES.join(', ')}.`);
  }
  return cache;
}
