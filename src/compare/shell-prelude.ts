/** What every script of src/compare/shell.ts begins with, and the functions that its steps call. */

/** strerror(3) in the C locale, and what the tools say without asking it, as patterns of sh. */
const MESSAGES: readonly (readonly [string, string])[] = [
  ['Operation not permitted', 'EPERM'],
  ['No such file or directory', 'ENOENT'],
  ['cannot operate on dangling symlink', 'ENOENT'],
  ['Input/output error', 'EIO'],
  ['No such device or address', 'ENXIO'],
  ['Argument list too long', 'E2BIG'],
  ['Bad file descriptor', 'EBADF'],
  ['Cannot allocate memory', 'ENOMEM'],
  ['Permission denied', 'EACCES'],
  ['Bad address', 'EFAULT'],
  ['Device or resource busy', 'EBUSY'],
  ['File exists', 'EEXIST'],
  ['Invalid cross-device link', 'EXDEV'],
  ['cannot overwrite non-directory', 'ENOTDIR'],
  ['cannot overwrite directory', 'EISDIR'],
  ['Not a directory', 'ENOTDIR'],
  ['Is a directory', 'EISDIR'],
  ['to a subdirectory of itself', 'EINVAL'],
  ['Invalid argument', 'EINVAL'],
  ['Text file busy', 'ETXTBSY'],
  ['File too large', 'EFBIG'],
  ['No space left on device', 'ENOSPC'],
  ['Read-only file system', 'EROFS'],
  ['Too many links', 'EMLINK'],
  ['Numerical result out of range', 'ERANGE'],
  ['File name too long', 'ENAMETOOLONG'],
  ['Directory not empty', 'ENOTEMPTY'],
  ['Too many levels of symbolic links', 'ELOOP'],
  ['No such attribute', 'ENODATA'],
  ['No data available', 'ENODATA'],
  ['Operation not supported', 'EOPNOTSUPP'],
  ['Transport endpoint is not connected', 'ENOTCONN'],
  ['Software caused connection abort', 'ECONNABORTED'],
  ['Stale file handle', 'ESTALE'],
  ['Disk quota exceeded', 'EDQUOT'],
];

const cases = MESSAGES.map(([text, name]) => `  *"${text}"*) echo ${name} ;;`).join('\n');

export const PRELUDE = String.raw`if [ $# -ne 1 ] || [ ! -d "$1" ]; then
  echo "usage: sh $0 DIRECTORY" >&2
  exit 2
fi
export LC_ALL=C
for tool in xfs_io dd seq stat cksum base64 setfattr getfattr setpriv prlimit chattr; do
  command -v "$tool" >/dev/null || { echo "$0: $tool is needed" >&2; exit 2; }
done
work=$(mktemp -d) || exit 2
trap 'exec 8>&- 9<&-; cd /; rm -rf "$work"' EXIT
# RLIMIT_FSIZE: the errno says it.
trap '' XFSZ
chmod 755 "$work"
umask 022
name=repro.$$
directory=$(cd "$1" && pwd) && mkdir "$directory/$name" && cd "$directory/$name" || exit 2
echo "$0: the files are in $directory/$name" >&2
who=
limit=

# As the user and with the limit that the script has set. What it says is in $work/out and $work/err.
run() {
  $who $limit "$@" >"$work/out" 2>"$work/err" 8>&- 9<&-
  status=$?
}

errno_of() {
  case $1 in
${cases}
  *) echo "error: $1" ;;
  esac
}

step() {
  echo "$1"
}

answer() {
  echo "  = $*"
}

# The answer of a command that gives none but an error.
finished() {
  if [ "$status" -eq 0 ] && [ ! -s "$work/err" ]; then answer 0; else answer "$(errno_of "$(cat "$work/err")")"; fi
}

# The answer of dd: bytes, or the error when there are none.
copied() {
  bytes=$(sed -n 's/^\([0-9]*\) bytes\{0,1\}.* copied.*/\1/p' "$work/err")
  if [ "$status" -ne 0 ] && [ "$bytes" = 0 ]; then bytes=; fi
  if [ -n "$bytes" ]; then answer "$bytes"; else answer "$(errno_of "$(cat "$work/err")")"; fi
}

contents() {
  if [ "$status" -ne 0 ]; then
    answer "$(errno_of "$(cat "$work/err")")"
  else
    answer "$(wc -c <"$work/out") cksum=$(cksum <"$work/out" | cut -d ' ' -f 1)"
  fi
}

# What stat(2) tells of each: mode, links, user, group, size. The size of a directory is each filesystem's own.
state() {
  for path; do
    if told=$($who stat -c '%f %h %u %g %s' "$path" 2>/dev/null); then
      mode=$((0x${'$'}{told%% *}))
      rest=${'$'}{told#* }
      if [ $((mode & 0170000)) -eq $((0040000)) ]; then rest="${'$'}{rest% *} 0"; fi
      echo "  [$path $(printf %o "$mode") $rest]"
    else
      echo "  [$path none]"
    fi
  done
}

# LETTER OFFSET LENGTH: bytes to write, into $work/data. 0: zeros. A small letter: lines of 16 bytes, the letter and
# the number of the line in the file. A large one: the same in every block of 4096.
data() {
  case $1 in
  0) head -c "$3" /dev/zero ;;
  [a-z]) seq -f "$1%014.0f" $(($2 / 16)) $((($2 + $3) / 16)) | tail -c +$(($2 % 16 + 1)) | head -c "$3" ;;
  *) yes "$(seq -f "$1%014.0f" 0 255)" | tail -c +$(($2 % 4096 + 1)) | head -c "$3" ;;
  esac >"$work/data" 2>/dev/null
}

# FILE OFFSET LENGTH [FLAGS]: one write(2) of the data.
put() {
  if [ "$3" -eq 0 ]; then
    run dd if=/dev/null of="$1" conv=notrunc,nocreat oflag="nonblock$4"
  else
    run dd if="$work/data" of="$1" bs="$3" count=1 seek="$2" conv=notrunc,nocreat \
      iflag=fullblock oflag="nonblock,seek_bytes$4"
  fi
  copied
}

# FILE OFFSET LENGTH: the same with O_APPEND.
append() {
  run dd if="$work/data" of="$1" bs="$3" count=1 conv=notrunc,nocreat iflag=fullblock oflag=nonblock,append
  copied
}

# FILE OFFSET LENGTH [FLAGS]
get() {
  size=$3
  [ "$size" -gt 0 ] || size=1
  run dd if="$1" bs="$size" count="$3" skip="$2" iflag="nonblock,skip_bytes,count_bytes$4"
  copied
  echo "  cksum=$(cksum <"$work/out" | cut -d ' ' -f 1)"
}

# A command of coreutils that takes a missing file for a success.
existing() {
  run stat -L "$1"
  [ "$status" -eq 0 ] && shift && run "$@"
  finished
}

# FLAGS FILE COMMAND...: of xfs_io.
io_with() {
  flags=$1 file=$2
  shift 2
  for command; do
    set -- "$@" -c "$command"
    shift
  done
  run xfs_io -n $flags "$@" "$file"
}

# FILE COMMAND...: on a file opened for reading and writing.
io() {
  io_with '' "$@"
}

# The same, for reading.
io_read() {
  io_with -r "$@"
}

names() {
  echo "  $(tr '\n' ' ')"
}

dedupe() {
  io "$2" "dedupe $1 $3"
  if grep -q 'did not match' "$work/out" "$work/err"; then
    answer differs
  elif [ -s "$work/err" ]; then
    answer "$(errno_of "$(cat "$work/err")")"
  else
    answer same "$(sed -n 's/^deduped \([0-9]*\).*/\1/p' "$work/out")"
  fi
}

# rename(2) of two names of one file does nothing; mv removes the first.
rename() {
  if [ "$(stat -c %d:%i "$1" 2>/dev/null)" = "$(stat -c %d:%i "$2" 2>/dev/null || echo none)" ]; then
    run true
  else
    run mv -T -f "$1" "$2"
  fi
  finished
}

# FILE MODE, after it was made with no more than that.
create() {
  run dd if=/dev/null of="$1" conv=excl status=none
  [ "$status" -ne 0 ] || run chmod "$2" "$1"
  finished
}

# FILE read|direct|map
look() {
  if run stat -L -c '%f %s' "$1" && [ "$status" -ne 0 ]; then
    finished
    return
  fi
  read -r mode size <"$work/out"
  if [ $((0x$mode & 0170000)) -ne $((0100000)) ]; then
    answer EISDIR
  elif [ "$size" -gt 16777216 ]; then
    segments "$1" "$size"
  elif [ "$2" = direct ]; then
    run dd if="$1" iflag=direct bs=256K status=none
    contents
  else
    run cat "$1"
    contents
  fi
}

# FILE SIZE: what SEEK_DATA finds of a large file.
segments() {
  run xfs_io -n -r -c 'seek -a -r 0' "$1"
  cp "$work/out" "$work/segments"
  total=0
  while read -r what at; do
    case $what in
    DATA) from=$at ;;
    HOLE)
      run dd if="$1" bs=256K iflag=skip_bytes,count_bytes skip="$from" count=$((at - from)) status=none
      cat "$work/out"
      ;;
    esac
  done <"$work/segments" | cksum | cut -d ' ' -f 1 >"$work/sum"
  answer "$2 cksum=$(cat "$work/sum")"
}

# Everything is written back: a block is shared until a write to the other file is.
settle() {
  io_read "$1" fsync syncfs 'fadvise -d 0 0'
}

# FILE: data and holes, and blocks up to its end; u unwritten, s shared.
map() {
  settle "$1"
  if [ "$status" -ne 0 ] || [ -s "$work/err" ]; then
    finished
    return
  fi
  end=$((($(stat -L -c %s "$1") + 4095) / 4096 * 4096))
  run xfs_io -n -r -c 'seek -a -r 0' "$1"
  answer "data=$(sed -n 's/^DATA[[:space:]]*/,/p; s/^HOLE[[:space:]]*/-/p' "$work/out" | tr -d '\n' | sed 's/^,//')"
  run xfs_io -n -r -c 'fiemap -v' "$1"
  if [ "$status" -ne 0 ] || [ -s "$work/err" ]; then
    finished
    return
  fi
  sed -n 's/^ *[0-9]*: \[\([0-9]*\)\.\.\([0-9]*\)\]: *[0-9][0-9.]* *[0-9]* *\(0x[0-9a-f]*\).*/\1 \2 \3/p' "$work/out" |
    extents
}

# Lines of FIRST LAST FLAGS, in units of 512 bytes.
extents() {
  start= stop= kind=
  printf '  extents:'
  while read -r first last flags; do
    kind_now=
    [ $((flags & 0x800)) -eq 0 ] || kind_now=u
    [ $((flags & 0x2000)) -eq 0 ] || kind_now=${'$'}{kind_now}s
    if [ "$stop" = $((first * 512)) ] && [ "$kind" = "$kind_now" ]; then
      stop=$(((last + 1) * 512))
      continue
    fi
    extent
    start=$((first * 512)) stop=$(((last + 1) * 512)) kind=$kind_now
  done
  extent
  echo
}

extent() {
  [ -n "$start" ] && [ "$start" -lt "$end" ] || return 0
  if [ "$stop" -gt "$end" ]; then stop=$end; fi
  printf ' %s-%s%s' "$start" "$stop" "$kind"
}

# FILE data|hole OFFSET
seek_to() {
  settle "$1"
  [ "$status" -ne 0 ] || [ -s "$work/err" ] || run xfs_io -n -r -c "seek -$2 $3" "$1"
  if [ "$status" -ne 0 ] || [ -s "$work/err" ]; then finished; return; fi
  found=$(sed -n 's/^[A-Z]*[[:space:]]\([0-9]*\)$/\1/p' "$work/out")
  answer "${'$'}{found:-ENXIO}"
}

# Whether reading moves atime.
atime() {
  settle "$1"
  before=$(stat -c %x "$1")
  run dd if="$1" bs=1 count=1 status=none
  if [ "$before" = "$(stat -c %x "$1")" ]; then answer 0; else answer 1; fi
}

tree() {
  find . -mindepth 1 | sort | while read -r entry; do
    state "$entry"
    if [ -L "$entry" ]; then
      echo "    -> $(readlink "$entry")"
    elif [ -f "$entry" ] && [ "$(stat -c %s "$entry")" -le 16777216 ]; then
      echo "    cksum=$($who cksum <"$entry" | cut -d ' ' -f 1)"
    fi
    getfattr -h -d -m - -e hex "$entry" 2>/dev/null | sed -n '/=/s/^/    /p' | sort
  done
}

access_to() {
  run stat -L "$2"
  if [ "$status" -eq 0 ]; then
    for letter in $1; do
      run test "$letter" "$2"
      [ "$status" -eq 0 ] || { answer EACCES; return; }
    done
  fi
  finished
}
`;

/** For scripts with steps that no such tool can do. */
export const AGENT_PRELUDE = String.raw`mkfifo "$work/ask" "$work/said"
"$RMAPFS_AGENT" "$directory" <"$work/ask" >"$work/said" &
exec 8>"$work/ask" 9<"$work/said"

# A line of the agent's own language; it keeps descriptors and mappings from one to the next.
agent() {
  echo "$1" >&8
  if read -r said <&9; then answer "$said" | sed 's/ \(new\|mc\|m\|c\|-\)\]/]/g'; else answer 'no answer'; fi
}

agent "enter $name" >/dev/null
`;
