/** One mount of a table as /proc/PID/mountinfo has it (proc_pid_mountinfo(5)). */
export interface Mount {
  /** "MAJOR:MINOR". */
  device: string;
  type: string;
  source: string;
}

/** The topmost mount on `path`, or null. */
export function topMount(mountinfo: string, path: string): Mount | null {
  let found: Mount | null = null;
  for (const line of mountinfo.split('\n')) {
    const [before, filesystem] = line.split(' - ');
    if (filesystem === undefined) continue;
    const fields = before.split(' ');
    if (decodeOctal(fields[4]) !== path) continue;
    const [type, source] = filesystem.split(' ');
    found = { device: fields[2], type, source: decodeOctal(source) };
  }
  return found;
}

/** Space, tab, newline and backslash are three octal digits there. */
function decodeOctal(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)));
}
