# Ends the servers in one folder and removes it, once the process that started them is
# gone or says so. That process holds the only writing end of our standard input: however it ends,
# and be it by SIGKILL, the pipe closes.
#
# Everything that runs for them has its working folder inside it; that is how it is found, even where
# its parent is gone.

dir=$1
signal=$2
keep=
trap '' HUP INT TERM

while read -r word; do
  case $word in
    keep) keep=yes ;;
    remove) keep= ;;
  esac
done

# The processes in the folder, or in the data folders below it if told so by a word.
members() {
  if [ -e /proc/self/cwd ]; then
    ls -l /proc/[0-9]*/cwd 2>/dev/null | while read -r line; do
      case $line in
        *" -> $dir/"*/data) ;;
        *" -> $dir" | *" -> $dir/"*) [ -z "$1" ] || continue ;;
        *) continue ;;
      esac
      pid=${line#* /proc/}
      echo "${pid%%/*}"
    done
  else
    for file in "$dir"/*/data/postmaster.pid "$dir"/*/data/redis.pid; do
      [ -f "$file" ] || continue
      read -r server <"$file"
      ps -A -o pid=,ppid= | while read -r pid parent; do
        if [ "$pid" = "$server" ] || [ "$parent" = "$server" ]; then echo "$pid"; fi
      done
    done
  fi
}

# An immediate shutdown, by QUIT, lets a PostgreSQL server give back what it holds outside its folder; what a frozen
# process is told it hears only once it goes on. Programs that are not servers, such as `initdb`,
# cannot give anything back, but they end soon.
tries=0
while left=$(members) && [ -n "$left" ] && [ "$tries" -lt 200 ]; do
  tries=$((tries + 1))
  for pid in $(members servers); do
    kill -"$signal" "$pid" 2>/dev/null
    kill -CONT "$pid" 2>/dev/null
    [ "$tries" -le 60 ] || kill -KILL "$pid" 2>/dev/null
  done
  if [ "$tries" -gt 150 ]; then
    for pid in $left; do kill -KILL "$pid" 2>/dev/null; done
  fi
  sleep 0.02
done

# A server that was killed could not give back its segment of System V shared memory: the second
# number on the seventh line of its file.
for file in "$dir"/*/data/postmaster.pid "$dir"/*/postmaster.pid; do
  [ -f "$file" ] || continue
  segment=$(sed -n '7s/^ *[0-9]* *//p' "$file")
  [ -z "$segment" ] || ipcrm -m "$segment" 2>/dev/null
done

[ -z "$keep" ] || exit 0
# Renamed first: another process may take the name again as soon as it is free, and what it makes
# there is not ours to remove.
gone=$dir.$$
if ! mv "$dir" "$gone" 2>/dev/null; then
  # Another watchdog may have been told to remove the same folder.
  if [ -e "$dir" ]; then exit 1; else exit 0; fi
fi
tries=0
until rm -rf "$gone" 2>/dev/null; do
  tries=$((tries + 1))
  [ "$tries" -lt 50 ] || exit 1
  sleep 0.1
done
