import fs from 'node:fs';
import { type Ioctl, systemIoctl } from './ioctl.js';

/** What the client needs of the system; replaced in tests. */
export interface ControlSystem {
  ioctl: Ioctl;
  /** f_type of the filesystem that holds the path. */
  filesystemType(path: string): number;
}

export const controlSystem: ControlSystem = {
  ioctl: systemIoctl,
  filesystemType: (path) => fs.statfsSync(path).type,
};
