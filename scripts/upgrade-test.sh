#!/usr/bin/env bash
# Upgrades a cluster under load from a real older Parlor to this one (tests/it/cluster/upgrade.rs): from COMMIT, or the newest release
# before this commit. The older program is built once, from the repository, in a folder of its own.
#
#   scripts/upgrade-test.sh [COMMIT]
set -euo pipefail
cd "$(dirname "$0")/.."

from=${1:-$(git describe --tags --abbrev=0 --match 'v*' HEAD^ 2>/dev/null || true)}
if [ -z "$from" ]; then
  echo "upgrade-test.sh: there is no release yet: name a commit" >&2
  exit 2
fi
commit=$(git rev-parse --verify --quiet "$from^{commit}") || { echo "upgrade-test.sh: there is no $from" >&2; exit 2; }
folder=$(realpath "${CARGO_TARGET_DIR:-target}")/older
program=$folder/parlor-$commit
if [ ! -x "$program" ]; then
  rm -rf "$folder/source"
  mkdir -p "$folder/source/web/dist"
  git archive "$commit" | tar -x -C "$folder/source"
  CARGO_TARGET_DIR=$folder/build cargo build --manifest-path "$folder/source/Cargo.toml" --bin parlor
  cp "$folder/build/debug/parlor" "$program"
  rm -rf "$folder/source"
fi
echo "the older one: $("$program" --version)"
PARLOR_OLDER=$program cargo test --test it cluster::upgrade -- --nocapture
