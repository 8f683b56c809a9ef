#!/usr/bin/env bash
# The rules of the house that no other tool checks (CONTRIBUTING.md has them with their reasons):
# a purpose line on every file, no mod.rs, no do_send, no file over 500 production lines. Prints the sizes.
set -euo pipefail
cd "$(dirname "$0")/.."

LIMIT=500
status=0
complain() {
  echo "lint-house: $*" >&2
  status=1
}

mapfile -t all < <(git ls-files --cached --others --exclude-standard '*.rs' | while read -r file; do [ -f "$file" ] && echo "$file"; done)
[ "${#all[@]}" -gt 0 ] || { echo "lint-house: no .rs file found" >&2; exit 1; }

for file in "${all[@]}"; do

  head -n 1 "$file" | grep -q '^//! ' || complain "$file: the first line must say what the file is for (//! …)"
  case "$file" in mod.rs | */mod.rs) complain "$file: use name.rs beside a folder name/, not mod.rs" ;; esac
done

if found=$(grep -nE '\.(do_send|notify)\(' "${all[@]}" | grep -vE ':\s*//'); then
  complain "do_send and notify know no bound: use actors::tell"$'\n'"$found"
fi

# Production lines: lines with something on them, without the test modules at the end of a file and without test files.
sizes=$(
  for file in "${all[@]}"; do
    case "$file" in tests/* | */tests.rs | */tests/* | */testing.rs) continue ;; esac
    awk -v file="$file" '
      held != "" { if ($0 ~ /\{[ \t]*$/) exit; held = ""; next }
      /^#\[cfg\(test\)\]$/ { held = $0; next }
      NF { n++ }
      END { print n + 0, file }' "$file"
  done | sort -n
)
while read -r lines file; do
  if [ "$lines" -gt "$LIMIT" ]; then complain "$file: $lines production lines, at most $LIMIT"; fi
done <<<"$sizes"

awk '{ n[NR] = $1; sum += $1; largest = $0 }
  END { printf "lint-house: %d files, %d production lines; median %d, p90 %d, largest %s\n",
    NR, sum, n[int((NR + 1) / 2)], n[int(NR * 0.9 + 0.5)], largest }' <<<"$sizes"
exit "$status"
