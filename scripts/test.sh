#!/usr/bin/env bash
# Runs `cargo test` with these arguments, then the tests of the web page, and adds all results up at the end.
# PARLOR_WEB=no leaves the page out.
set -euo pipefail

log=$(mktemp)
web=$(mktemp)
trap 'rm -f "$log" "$web"' EXIT
status=0
webstatus=0
# Without --no-fail-fast, cargo leaves out what comes behind the first binary that fails.
cargo test --no-fail-fast "$@" 2>&1 | tee "$log" || status=$?
if [ "${PARLOR_WEB:-yes}" != no ]; then
  # The browsers speak to the server that was built for the tests.
  { cargo build --bin parlor && scripts/web.sh test; } 2>&1 | tee "$web" || webstatus=$?
fi

echo
# What failed is told once more at the end, where one looks: what each said first: behind it come backtraces.
awk -v most=12 'function told() { if (name == "") return; print name; for (n = 0; n < count && n < most; n++) print "    " line[n] }
  /^---- .* stdout ----$/ { told(); name = "of " $2 ":"; count = 0; next }
  /^(failures:|test result:)/ { told(); name = ""; next }
  name != "" && $0 != "" { line[count++] = substr($0, 1, 400) }' "$log"
# A test that failed is named twice by cargo: in its binary's list and again under "failures:".
grep -E '^test .* (\.\.\. )?FAILED$' "$log" | sort -u || true
awk '/^test result:/ { binaries++; passed += $4; failed += $6; ignored += $8 }
  END { printf "summary: %d passed, %d failed, %d ignored, in %d binaries\n", passed, failed, ignored, binaries }' "$log"
if [ "${PARLOR_WEB:-yes}" != no ]; then
  # Vitest: "Tests  1 failed | 11 passed (12)"; Playwright: "  2 failed", "  8 passed (1.5m)".
  sed 's/\x1b\[[0-9;]*m//g' "$web" | awk '
    /^ +Tests / { for (n = 2; n <= NF; n++) { if ($n ~ /^failed/) failed += $(n - 1); if ($n ~ /^passed/) passed += $(n - 1) } }
    /^ +[0-9]+ passed/ { passed += $1 } /^ +[0-9]+ (failed|interrupted|did not run|flaky)/ { failed += $1 }
    END { printf "summary of the web page: %d passed, %d failed\n", passed, failed; if (passed == 0) exit 1 }' || webstatus=1
fi
if [ "$status" -ne 0 ]; then echo "summary: FAILED (cargo test ended with $status)"; fi
if [ "$webstatus" -ne 0 ]; then echo "summary: FAILED (the web page, $webstatus)"; fi
[ "$status" -ne 0 ] || status=$webstatus
exit "$status"
