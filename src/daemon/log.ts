export type LogLevel = 'error' | 'warn' | 'info';
export type Log = (level: LogLevel, text: string) => void;

/**
 * One line a message on standard error, which the starter has pointed at the log file. Standard error of a
 * process is written synchronously for files, terminals and pipes: the last words before an end are not lost.
 */
export const logToStderr: Log = (level, text) => {
  process.stderr.write(`${new Date().toISOString()} rmapfs[${process.pid}] ${level}: ${text}\n`);
};

/** Lines of one kind that are written in a row, and how long a kind is then silent, in milliseconds. */
const KIND_LINES_MAX = 20;
const KIND_SILENCE_MS = 60_000;
/** Kinds that are told apart; the oldest is forgotten first. */
const KINDS_MAX = 256;

interface Kind {
  /** Lines written, and since then left out. */
  written: number;
  omitted: number;
  until: number;
}

/** Lines that differ in their numbers only are of one kind, and those of a stack count by their first line. */
const kindOf = (level: LogLevel, text: string): string =>
  `${level} ${text
    .split('\n', 1)[0]
    .replaceAll(/0x[0-9a-f]+|\d+/g, '#')
    .slice(0, 200)}`;

/**
 * A log that nobody can fill: of each kind KIND_LINES_MAX lines, then none for KIND_SILENCE_MS, and with the next one
 * how many were left out.
 */
export function withoutFloods(log: Log, now: () => number): Log {
  const kinds = new Map<string, Kind>();
  return (level, text) => {
    const name = kindOf(level, text);
    const kind = kinds.get(name) ?? { written: 0, omitted: 0, until: 0 };
    kinds.delete(name);
    kinds.set(name, kind);
    const [oldest] = kinds.keys();
    if (kinds.size > KINDS_MAX) kinds.delete(oldest);
    if (now() >= kind.until) {
      if (kind.omitted > 0) log(level, `${kind.omitted} more lines like the next were left out`);
      Object.assign(kind, { written: 0, omitted: 0, until: now() + KIND_SILENCE_MS });
    }
    if (kind.written < KIND_LINES_MAX) {
      kind.written += 1;
      log(level, text);
    } else kind.omitted += 1;
  };
}

/**
 * The text of an error for a log: with its stack, unless it is an expected one that says all in its message.
 */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.name === 'FsError' ? error.message : (error.stack ?? error.message);
}
