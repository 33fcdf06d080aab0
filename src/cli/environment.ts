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
}

const { isTTY = false, columns = 80, rows = 24 } = process.stdout;

export const processEnvironment: CliEnvironment = {
  write: (text) =>
    new Promise((resolve, reject) => {
      process.stdout.write(text, (error) => (error ? reject(error) : resolve()));
    }),
  warn: (text) => void process.stderr.write(text),
  control: controlSystem,
  // https://no-color.org: set and not empty.
  window: { columns, rows, color: isTTY && !process.env.NO_COLOR },
};
