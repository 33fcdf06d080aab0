import { type ControlSystem, controlSystem } from '../control/system.js';

/** What a command uses of the process it runs in; replaced in tests. */
export interface CliEnvironment {
  /** Writes to standard output; resolves when the text was taken. */
  write(text: string): Promise<void>;
  /** Writes to standard error. */
  warn(text: string): void;
  readonly control: ControlSystem;
}

export const processEnvironment: CliEnvironment = {
  write: (text) =>
    new Promise((resolve, reject) => {
      process.stdout.write(text, (error) => (error ? reject(error) : resolve()));
    }),
  warn: (text) => void process.stderr.write(text),
  control: controlSystem,
};
