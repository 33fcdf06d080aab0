import { AGENT_PRELUDE, PRELUDE } from './shell-prelude.js';
import { NeedsAgent, type ShellState, STEPS, TOUCHES } from './shell-steps.js';

/** Lines that the agent must hear of too, where it does a part of the work. */
const FOR_BOTH = new Set(['user', 'limit', 'umask']);

interface ShellStep {
  /** Commands of sh; null: only the agent can do it. */
  commands: readonly string[] | null;
}

/** The names that native/agent would look at after the line, in its order. */
function touched(words: readonly string[]): string[] {
  const names = new Set<string>();
  for (const [i, how] of [...(TOUCHES[words[0]] ?? '')].entries()) {
    const name = words[i + 1];
    if (how === '.' || name === undefined || name.startsWith('/')) continue;
    names.add(name);
    if (how === 'n') names.add(name.includes('/') ? name.slice(0, name.lastIndexOf('/')) : '.');
  }
  return [...names];
}

function stepOf(words: readonly string[], state: ShellState): ShellStep {
  const render = STEPS[words[0]];
  if (render === undefined) return { commands: null };
  try {
    const names = touched(words);
    return {
      commands: [...render(words, state), ...(names.length === 0 ? [] : [`state ${names.join(' ')}`])],
    };
  } catch (error) {
    if (error instanceof NeedsAgent) return { commands: null };
    throw error;
  }
}

const literal = (line: string): string => `'${line.replaceAll("'", "'\\''")}'`;

function needs(what: string, lines: readonly string[], say: string): string {
  const shown = lines.slice(0, 3).join('; ') + (lines.length > 3 ? '; ...' : '');
  const message = `this script needs ${what} for: ${shown}. ${say}`;
  return message.replaceAll(/["$\\`]/g, '');
}

function demand(variable: string, message: string): string {
  return `if [ -z "\${${variable}-}" ]; then\n  echo "$0: ${message}" >&2\n  exit 3\nfi\n`;
}

/**
 * A script of native/agent as a script of sh, that anybody can run on any two filesystems: it does the operations with
 * dd, xfs_io, coreutils and attr in a new directory and prints what can be seen of them, for diff(1). What they cannot
 * do (descriptors that stay open, mappings, renameat2 flags) it lets rmapfs-agent do, and says so when there is none.
 */
export function shellScript(script: readonly string[], about: string): string {
  const state: ShellState = { umask: 0o022 };
  const steps = script.map((line) => ({ line, ...stepOf(line.split(' '), state) }));
  const forAgent = steps.filter(({ commands }) => commands === null).map(({ line }) => line);
  const usesAgent = forAgent.length > 0;
  const remounts = script.includes('remount');
  let text = `#!/bin/sh
# ${about}
#
# Does these operations in a new directory below DIRECTORY and prints what can be seen of them:
#   sh FILE /mnt/a > a; sh FILE /mnt/b > b; diff a b
# On rmapfs below "rmapfs exec --", so that FICLONE, FIEMAP and the rest reach the mount. Times are not shown.
`;
  if (usesAgent) {
    const message = needs('rmapfs-agent', forAgent, 'Set RMAPFS_AGENT to its path');
    text += demand('RMAPFS_AGENT', message);
  }
  if (remounts) {
    const message = needs('to mount again', ['remount'], 'Set REMOUNT to a command that does it');
    text += demand('REMOUNT', message);
  }
  text += PRELUDE + (usesAgent ? AGENT_PRELUDE : '');
  for (const { line, commands } of steps) {
    text += `\nstep ${literal(line)}\n`;
    if (commands === null) {
      text += `agent ${literal(line)}\n`;
      continue;
    }
    const isRemount = usesAgent && line === 'remount';
    if (isRemount) text += 'agent leave\n';
    text += commands.map((command) => `${command}\n`).join('');
    if (isRemount) text += 'agent "enter $name"\n';
    if (usesAgent && FOR_BOTH.has(line.split(' ')[0])) text += `agent ${literal(line)} >/dev/null\n`;
  }
  return text;
}
