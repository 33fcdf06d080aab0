import { ControlClient } from '../../src/control/client.js';

/** Uses the control interface in this process: a command for each call would take most of a test's time. */
export function control<T>(path: string, use: (client: ControlClient) => T, access: 'r' | 'r+' = 'r'): T {
  const client = ControlClient.open(path, access);
  try {
    return use(client);
  } finally {
    client.close();
  }
}
