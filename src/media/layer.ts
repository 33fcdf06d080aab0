/** A range of a device or of what is laid over devices, in bytes. */
export interface MediaRange {
  readonly physical: number;
  readonly length: number;
}

/**
 * What lies between devices and the filesystem, as a table of the kernel's device mapper does: partitions, linear,
 * stripe, mirror. The filesystem knows one range of bytes only, and a failure comes from below, from one device.
 */
export interface Layer {
  /**
   * The ranges above that a failed range of device number `device` (from 0) carries and that are lost with it, in
   * ascending order. Several for a stripe; none where nothing lies on the range, or where another copy is good (a
   * mirror tells nobody as long as one leg is). Never longer in sum than `failed`.
   */
  lostAbove(device: number, failed: MediaRange): readonly MediaRange[];
}

/** The filesystem lies on one device, from its first byte on. */
export const IDENTITY: Layer = { lostAbove: (_device, failed) => [failed] };
