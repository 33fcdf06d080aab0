import fs from 'node:fs';
import path from 'node:path';
import { currentMounts } from '../cli/mounts.js';
import type { InfoDocument } from '../control/schema.js';
import { DemoFailure, observe, quietly, Stage } from './stage.js';
import {
  type Cast,
  compareAccounts,
  heal,
  poisonBlock,
  readAround,
  type Scene,
  shareBlocks,
  showOwners,
} from './story.js';
import { compileVictim, VictimProcess } from './victim.js';

/**
 * `npm run demo`: the main story of rmapfs on a real mount with ordinary programs. Every line it prints is
 * observed; the first thing that is not as it should be ends it with a non-zero status. Needs root, /dev/fuse
 * and a C compiler.
 */

const REGION_SIZE = '64M';
const FILE_BYTES = 8 * 1024 * 1024;

async function setTheScene(stage: Stage): Promise<Scene> {
  observe(process.geteuid?.() === 0, 'the demo mounts and looks at processes: run it as root');
  observe(fs.existsSync('/dev/fuse'), 'there is no /dev/fuse: load the module with modprobe fuse');
  const directory = fs.mkdtempSync('/dev/shm/rmapfs-demo-');
  stage.later('removal of the region', () => fs.rmSync(directory, { recursive: true }));
  const mountpoint = path.join('/tmp', path.basename(directory));
  fs.mkdirSync(mountpoint);
  stage.later('removal of the mount point', () => fs.rmdirSync(mountpoint));
  const region = path.join(directory, 'region');

  stage.heading('A region in memory, formatted and mounted');
  stage.say(await stage.run('rmapfs', 'mkfs', region, '--size', REGION_SIZE, '--label', 'demo'));
  stage.later('unmount', () => unmountAnyway(mountpoint));
  await stage.run('rmapfs', 'mount', region, mountpoint, '-o', `log=${path.join(directory, 'log')}`);
  stage.say(await stage.run('rmapfs', 'info', mountpoint));

  stage.heading('A file of some MiB, and a copy by plain cp');
  const original = realBytes(FILE_BYTES);
  const data = path.join(mountpoint, 'data');
  fs.writeFileSync(data, original, { flush: true });
  stage.say(`wrote ${fs.statSync(data).size} bytes of ${process.execPath} to ${data}`);
  return { stage, region, mountpoint, data, copy: path.join(mountpoint, 'copy'), original };
}

/** The start of the running program: no two of its blocks are alike by design, as zeros would be. */
function realBytes(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  const fd = fs.openSync(process.execPath, 'r');
  try {
    const got = fs.readSync(fd, bytes, 0, length, 0);
    observe(got === length, `${process.execPath} has only ${got} bytes`);
  } finally {
    fs.closeSync(fd);
  }
  return bytes;
}

async function startCast(scene: Scene): Promise<Cast> {
  const { stage } = scene;
  const program = await compileVictim(path.dirname(scene.region));
  const cast = {
    mapsData: await VictimProcess.start(stage, 'maps /data', program, 'map', scene.data),
    mapsCopy: await VictimProcess.start(stage, 'maps /copy', program, 'map', scene.copy),
    holdsOpen: await VictimProcess.start(stage, 'holds /data open', program, 'open', scene.data),
  };
  for (const victim of Object.values(cast)) {
    const where = victim.address === 0 ? '' : ` at 0x${victim.address.toString(16)}`;
    stage.say(`process ${victim.pid} ${victim.name}${where}`);
  }
  return cast;
}

async function tell(stage: Stage): Promise<void> {
  const scene = await setTheScene(stage);
  await shareBlocks(scene);
  stage.heading('Both files own the same blocks');
  const block = await showOwners(scene);
  stage.heading('Three ordinary processes');
  const cast = await startCast(scene);
  stage.heading(`The block at ${block.physical} fails: byte ${block.fileOffset} of both files`);
  const report = await poisonBlock(scene, block);
  stage.heading("Each process's own account");
  await compareAccounts(scene, cast, block, report);
  stage.heading('The block cannot be read, its neighbours can');
  readAround(scene, block, { data: 'EIO', copy: 'EIO' });
  stage.heading('A write of the whole block heals it');
  await heal(scene, block);
  stage.heading('The end');
  await endCast(stage, cast);
  await stage.run('rmapfs', 'umount', scene.mountpoint);
  observe(!isMounted(scene.mountpoint), `${scene.mountpoint} is still mounted`);
  const info = await stage.json<InfoDocument>('info', scene.region);
  stage.say(`the region is ${info.clean ? 'clean' : 'not clean'} and has ${info.blocks.bad} bad blocks`);
  observe(info.clean && !info.shutdown, 'the region was not unmounted cleanly');
}

async function endCast(stage: Stage, cast: Cast): Promise<void> {
  for (const victim of Object.values(cast)) {
    const status = await victim.stop();
    stage.say(`process ${victim.pid} that ${victim.name} ended with status ${status}`);
    observe(status === 0, `the process that ${victim.name} ended with ${status}`);
  }
  const told = await cast.holdsOpen.accounts(0);
  observe(told.length === 0, 'the process that only holds the file open was signalled');
}

/** The story may have unmounted already, or the daemon may be gone. */
async function unmountAnyway(mountpoint: string): Promise<void> {
  if (isMounted(mountpoint)) await quietly('umount', '--force', mountpoint);
}

function isMounted(mountpoint: string): boolean {
  return currentMounts().some((mount) => mount.mountpoint === mountpoint);
}

async function finish(stage: Stage, status: number): Promise<never> {
  const left = await stage.cleanUp();
  for (const line of left) process.stderr.write(`demo: could not be undone: ${line}\n`);
  process.exit(left.length > 0 ? 1 : status);
}

async function main(): Promise<void> {
  const stage = new Stage();
  let interrupted = false;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (interrupted) return;
      interrupted = true;
      process.stderr.write(`\ndemo: ${signal}: cleaning up\n`);
      void finish(stage, 130);
    });
  }
  try {
    await tell(stage);
    if (!interrupted) process.stdout.write('\nEverything was as it should be.\n');
    if (!interrupted) await finish(stage, 0);
  } catch (error) {
    if (interrupted) return;
    const text = error instanceof DemoFailure ? error.message : (error as Error).stack;
    process.stderr.write(`\ndemo: FAILED: ${text}\n`);
    await finish(stage, 1);
  }
}

await main();
