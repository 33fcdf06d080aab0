/**
 * The shortest script that still fails, as far as leaving lines out can find it: Zeller's ddmin, down to a script of
 * which no single line can be left out.
 *
 * @param fails runs a script; whether it fails in the same way
 * @param runsMax how often it may be called
 */
export async function shrink(
  script: readonly string[],
  fails: (script: readonly string[]) => Promise<boolean>,
  runsMax: number,
): Promise<string[]> {
  let current = [...script];
  let runs = 0;
  let size = Math.ceil(current.length / 2);
  while (size >= 1 && current.length > 1) {
    let smaller = false;
    for (let at = 0; at < current.length && runs < runsMax; ) {
      const rest = current.toSpliced(at, size);
      runs++;
      if (rest.length > 0 && (await fails(rest))) {
        current = rest;
        smaller = true;
      } else {
        at += size;
      }
    }
    if (runs >= runsMax) break;
    if (size === 1 && !smaller) break;
    if (!smaller || size > current.length) size = Math.max(1, Math.min(Math.floor(size / 2), current.length));
  }
  return current;
}
