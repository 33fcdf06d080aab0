import { CompareError } from './programs.js';

/** The text of a script for `rmapfs compare --replay`, and for native/agent alone. */
export function scriptText(script: readonly string[], about: string): string {
  return `# ${about}\n${script.join('\n')}\n`;
}

/** The lines of a script, without comments. CompareError for one that holds none. */
export function parseScript(text: string): string[] {
  const lines = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
  if (lines.length === 0) throw new CompareError('the script has no lines');
  return lines;
}
