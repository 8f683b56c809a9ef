#!/usr/bin/env bash
# Runs the load scenarios of docs/performance.md, each against a server of its own, and fails if a check is not clean.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${TARGET:-target}/release
status=0
run() {
  echo
  echo "== parlor-bench $*"
  "$target/parlor-bench" --spawn "$target/parlor" ${SERVER_CPUS:+--server-cpus "$SERVER_CPUS"} "$@" || status=1
}
run pairs
run pairs --rate 1000
run groups --recipients 100 --in-flight 64
run idle
run storm
exit "$status"
