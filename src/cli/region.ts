import fs from 'node:fs';
import { ControlClient } from '../control/client.js';
import { errnoNameOf } from '../control/error.js';
import type { Engine } from '../engine/api.js';
import { openEngine } from '../engine/index.js';
import { CorruptionError } from '../errors.js';
import type { Media } from '../media/media.js';
import { openRegion, type RegionMedia, type RegionOptions } from '../media/region.js';
import type { Clock } from '../types.js';
import type { CliEnvironment } from './environment.js';
import { explain, type Findings, failure } from './errors.js';
import { awaitLastDaemon } from './last-daemon.js';
import { currentMounts, mayBeOurs } from './mounts.js';

export const systemClock: Clock = {
  now(into) {
    const ms = Date.now();
    into.sec = Math.floor(ms / 1000);
    into.nsec = (ms - into.sec * 1000) * 1_000_000;
  },
  seconds: () => Math.floor(Date.now() / 1000),
};

/** Whether "DIR|REGION" is a DIR: a directory, or a file on a rmapfs mount. A region may lie on any other FUSE. */
export function isOnMount(env: CliEnvironment, path: string, asked: string): boolean {
  try {
    if (fs.statSync(path).isDirectory()) return true;
    ControlClient.open(path, 'r', env.control).close();
    return true;
  } catch (error) {
    if (errnoNameOf(error) === 'ENOTTY') return false;
    throw explain(error, asked, path);
  }
}

/** What the errors of opening a region mean. */
function regionFindings(path: string): Findings {
  const real = realPath(path);
  const mounted = currentMounts().find((mount) => mayBeOurs(mount) && realPath(mount.source) === real);
  const user = mounted === undefined ? 'another process' : `the mount on ${mounted.mountpoint}`;
  const advice =
    mounted === undefined ? 'wait for it to end' : `name ${mounted.mountpoint}, or unmount it first`;
  return {
    EBUSY: `it is in use by ${user}; ${advice}`,
  };
}

function realPath(path: string): string {
  return fs.existsSync(path) ? fs.realpathSync(path) : path;
}

/** Opens the media of a region that nobody else uses, runs `use`, closes it. */
export async function withRegion<T>(
  path: string,
  asked: string,
  options: RegionOptions,
  use: (media: RegionMedia) => Promise<T> | T,
): Promise<T> {
  let media: RegionMedia;
  await awaitLastDaemon(asked, realPath(path));
  try {
    media = openRegion(path, options);
  } catch (error) {
    throw explain(error, asked, path, regionFindings(path));
  }
  try {
    const result = await use(media);
    media.checkStillThere();
    return result;
  } catch (error) {
    if (media.lost !== null) throw failure(asked, media.lost, error);
    if (error instanceof CorruptionError) {
      throw failure(asked, `the region is damaged (${error.message}); format it again, or use a copy`, error);
    }
    throw explain(error, asked, path);
  } finally {
    media.close();
  }
}

/** Opens the filesystem of an unmounted region for reading. */
export function withUnmounted<T>(
  path: string,
  asked: string,
  use: (engine: Engine, media: Media) => Promise<T> | T,
): Promise<T> {
  return withRegion(path, asked, { readOnly: true }, (media) =>
    use(openEngine(media, { clock: systemClock }), media),
  );
}
