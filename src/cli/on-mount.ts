import { ControlClient } from '../control/client.js';
import type { CliEnvironment } from './environment.js';
import { explain, type Findings } from './errors.js';

const NOTHING_MORE: Findings = {};

/** Something to do on a mount, with the words for the case that it fails. */
export interface MountTask {
  /** A file or directory of the mount, as the user named it. */
  path: string;
  /** What was asked, to follow "cannot ". */
  asked: string;
  access?: 'r' | 'r+';
  /** What an errno means here. Called only after a failure; the client can still be used. */
  findings?: (client: ControlClient) => Findings;
}

/** Opens the path, runs `use`, closes it. Every failure becomes one sentence. */
export async function onMount<T>(
  env: CliEnvironment,
  task: MountTask,
  use: (client: ControlClient) => Promise<T> | T,
): Promise<T> {
  let client: ControlClient;
  try {
    client = ControlClient.open(task.path, task.access ?? 'r', env.control);
  } catch (error) {
    throw explain(error, task.asked, task.path);
  }
  try {
    return await use(client);
  } catch (error) {
    throw explain(error, task.asked, task.path, findingsAfter(task, client));
  } finally {
    client.close();
  }
}

/** What the mount still says after a failure. When it says nothing any more, the failure itself must do. */
function findingsAfter(task: MountTask, client: ControlClient): Findings {
  try {
    return task.findings?.(client) ?? NOTHING_MORE;
  } catch {
    return NOTHING_MORE;
  }
}

/** The words for a physical range that is not inside the device. */
export function outsideDevice(client: ControlClient): Findings {
  const { size } = client.info();
  const text = `the range is not inside the device, which has ${size} bytes; choose one that ends at or before ${size}`;
  return { ENXIO: text, EOVERFLOW: text };
}
