#!/usr/bin/env bash
# Runs `cargo test` with these arguments and adds the results of all its binaries up at the end.
set -euo pipefail

log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
# Without --no-fail-fast, cargo leaves out what comes behind the first binary that fails.
cargo test --no-fail-fast "$@" 2>&1 | tee "$log" || status=$?

echo
# A test that failed is named twice by cargo: in its binary's list and again under "failures:".
grep -E '^test .* (\.\.\. )?FAILED$' "$log" | sort -u || true
awk '/^test result:/ { binaries++; passed += $4; failed += $6; ignored += $8 }
  END { printf "summary: %d passed, %d failed, %d ignored, in %d binaries\n", passed, failed, ignored, binaries }' "$log"
if [ "$status" -ne 0 ]; then echo "summary: FAILED (cargo test ended with $status)"; fi
exit "$status"
