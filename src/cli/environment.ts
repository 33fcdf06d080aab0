import { type ControlSystem, controlSystem } from '../control/system.js';

/** What a command uses of the process it runs in; replaced in tests. */
export interface CliEnvironment {
  /** Writes to standard output; resolves when the text was taken. */
  write(text: string): Promise<void>;
  /** Writes to standard error. */
  warn(text: string): void;
  readonly control: ControlSystem;
  /** The terminal behind standard output; 80 x 24 without color when there is none. */
  readonly window: { columns: number; rows: number; color: boolean };
  /** A progress bar on standard error; one that shows nothing when that is no terminal. */
  progress(): Promise<Progress>;
}

/** A bar that goes from 0 to a total. */
export interface Progress {
  start(total: number, from: number): void;
  update(value: number): void;
  stop(): void;
}

const { isTTY = false, columns = 80, rows = 24 } = process.stdout;

async function terminalProgress(): Promise<Progress> {
  const { Format, Presets, SingleBar } = (await import('cli-progress')).default;
  const format = (value: number): string => `${(value / 2 ** 20).toFixed(1)} MiB`;
  return new SingleBar(
    {
      format: '{bar} {percentage}% | {value} of {total} | {eta_formatted} left',
      formatValue: (value, options, type) =>
        type === 'value' || type === 'total' ? format(value) : Format.ValueFormat(value, options, type),
      hideCursor: true,
      stream: process.stderr,
    },
    Presets.shades_grey,
  );
}

export const processEnvironment: CliEnvironment = {
  write: (text) =>
    new Promise((resolve, reject) => {
      process.stdout.write(text, (error) => (error ? reject(error) : resolve()));
    }),
  warn: (text) => void process.stderr.write(text),
  control: controlSystem,
  progress: terminalProgress,
  // https://no-color.org: set and not empty.
  window: { columns, rows, color: isTTY && !process.env.NO_COLOR },
};
