#!/bin/sh
# Puts what the tests need beside Rust under ~/.cache/parlor-tests (or $XDG_CACHE_HOME): node packages, the Big List of
# Naughty Strings among them; a Python environment, with moto in it, a server that speaks S3 (140 MB); the interpreter of
# Jolie scripts (60 MB), which needs Maven and a JDK; and the servers of a cluster (scripts/servers.sh). Does nothing when
# it is there. `make test` calls it.
set -eu

bash "$(dirname "$0")/../scripts/servers.sh" postgres redis kafka faketime prometheus nginx

# The tests of the web page use the system's browser.
if [ -z "${CHROMIUM:-}" ] && [ ! -x /usr/bin/chromium ]; then
    sudo=$([ "$(id -u)" = 0 ] || echo sudo)
    { $sudo apt-get update -qq && $sudo apt-get install -y -qq --no-install-recommends chromium fonts-noto-color-emoji; } >/dev/null ||
        { echo "tests/setup.sh needs Chromium: install it, or say where it is by CHROMIUM=PATH" >&2; exit 1; }
fi

# A changed version here needs a new number, in tests/it/app.rs too.
READY=ready-3
CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/parlor-tests"

# The interpreter of Jolie scripts, of these sources.
bash "$(dirname "$0")/../scripts/jolie.sh" "$CACHE/jolie"
[ -e "$CACHE/$READY" ] && exit 0

for program in npm node python3; do
    command -v "$program" >/dev/null || { echo "tests/setup.sh needs $program" >&2; exit 1; }
done

mkdir -p "$CACHE"
# Two of these at once must not write into one another's folders.
exec 9>"$CACHE/lock"
if command -v flock >/dev/null; then flock 9; fi
[ -e "$CACHE/$READY" ] && exit 0

rm -rf "$CACHE/node" "$CACHE/python"
npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$CACHE/node" \
    ws@8.18.3 big-list-of-naughty-strings@1.0.0
python3 -m venv "$CACHE/python"
"$CACHE/python/bin/pip" install --quiet 'websockets==15.0.1' \
    'moto[s3]==5.2.5' 'flask-cors==6.0.5' 'confluent-kafka==2.16.1'
touch "$CACHE/$READY"
echo "ready: $CACHE"
