export type LogLevel = 'error' | 'warn' | 'info';
export type Log = (level: LogLevel, text: string) => void;

/**
 * One line a message on standard error, which the starter has pointed at the log file. Standard error of a
 * process is written synchronously for files, terminals and pipes: the last words before an end are not lost.
 */
export const logToStderr: Log = (level, text) => {
  process.stderr.write(`${new Date().toISOString()} rmapfs[${process.pid}] ${level}: ${text}\n`);
};

/**
 * The text of an error for a log: with its stack, unless it is an expected one that says all in its message.
 */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.name === 'FsError' ? error.message : (error.stack ?? error.message);
}
