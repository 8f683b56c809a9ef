#!/usr/bin/env bash
# Puts together what is in the image (deploy/image/rootfs.sh) and runs it without a container engine, as a container would run
# it: as a user without rights or capabilities, on a root that cannot be written, with nothing else in sight. It must become ready,
# confine the workers of its scripts, and stop well.
#
#   scripts/image-check.sh target/debug/parlor
#   scripts/image-check.sh target/release/parlor 60      and be at most so many MiB
set -euo pipefail
cd "$(dirname "$0")/.."

program=$1
say() { echo "image-check: $*"; }
fail() { echo "image-check: $*" >&2; [ ! -s "$work/log" ] || tail -n 20 "$work/log" >&2; exit 1; }
work=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true; rm -rf "$work"' EXIT
scripts/servers.sh bubblewrap

deploy/image/rootfs.sh "$program" "$work/root" "${2:-}"
[ -z "$(find "$work/root" -name sh -o -name bash -o -name busybox)" ] || fail "there is a shell"

# A runtime makes these to mount there.
mkdir -p "$work/root/proc" "$work/root/dev"
# Not below a folder that others may not enter.
chmod 755 "$work"
mkdir "$work/data"
chown 65532:65532 "$work/data"
setpriv=()
if [ "$(id -u)" = 0 ]; then setpriv=(setpriv --reuid=65532 --regid=65532 --clear-groups --no-new-privs); fi
"${setpriv[@]}" bwrap --unshare-user --unshare-pid --unshare-ipc --uid 65532 --gid 65532 --cap-drop ALL --die-with-parent \
  --ro-bind "$work/root" / --proc /proc --dev /dev --tmpfs /tmp --bind "$work/data" /var/lib/parlor --clearenv \
  -- /usr/bin/parlor serve --data /var/lib/parlor --listen 127.0.0.1:0 --internal-listen 127.0.0.1:0 \
  >"$work/ready" 2>"$work/log" &
pid=$!
for _ in $(seq 150); do
  [ ! -s "$work/ready" ] || break
  kill -0 "$pid" 2>/dev/null || fail "it ended"
  sleep 0.1
done
internal=$(sed -n 's/.*internal http:\/\/\([0-9.:]*\)).*/\1/p' "$work/ready")
[ -n "$internal" ] || fail "it is not ready after 15 s"
exec 7<>"/dev/tcp/${internal%:*}/${internal#*:}"
printf 'GET /readyz HTTP/1.0\r\n\r\n' >&7
read -r -t 5 _ status _ <&7
[ "$status" = 200 ] || fail "/readyz is $status"
grep -q 'script workers are confined seccomp=true landlock=[1-9].* missing=""' "$work/log" || fail "workers are not confined"
# The init of the namespace passes no signal on: the program itself is asked.
server=$(pgrep -P "$(pgrep -P "$pid" | head -n 1)" | head -n 1 || true)
kill -TERM "${server:-$(pgrep -P "$pid" | head -n 1)}"
for _ in $(seq 100); do
  kill -0 "$pid" 2>/dev/null || break
  sleep 0.1
done
status=0
wait "$pid" || status=$?
pid=
[ "$status" = 0 ] || fail "it ended with $status"
say "runs and stops as a container would have it"
