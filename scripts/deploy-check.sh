#!/usr/bin/env bash
# Checks what is in deploy/ without running it: rules by promtool and their unit tests, dashboards, the chart for several sets of
# values against the schemas of Kubernetes, compose.yaml, workflows, what is in the image.
# Installs the tools that it needs first, once.
#
#   scripts/deploy-check.sh           all of it, and that the program reads what the chart writes: `make deploy-check`
#   scripts/deploy-check.sh rules     without what needs Helm and actionlint, whose build takes many minutes: `make test`
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "deploy-check: $*"; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

scripts/servers.sh prometheus

say "what is generated is up to date"
python3 deploy/prometheus/slo.py --check
python3 deploy/grafana/dashboards.py --check

say "rules, and their unit tests"
promtool check config deploy/prometheus/prometheus.yml >"$work/log" || { cat "$work/log"; exit 1; }
promtool test rules deploy/prometheus/tests/*.yml >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }

# Each as a rule of its own: promtool reads no query by itself.
python3 - deploy/grafana/dashboards "$work/queries.yml" <<'PYTHON'
import json, pathlib, sys
rules = [{"record": "q", "labels": {"n": str(n)}, "expr": expr.replace("$__rate_interval", "5m")}
         for n, expr in enumerate(target["expr"] for path in sorted(pathlib.Path(sys.argv[1]).glob("*.json"))
                                  for panel in json.loads(path.read_text())["panels"]
                                  for target in panel.get("targets", []))]
assert len(rules) > 50, len(rules)
pathlib.Path(sys.argv[2]).write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
print(f"deploy-check: {len(rules)} queries of dashboards")
PYTHON
promtool check rules "$work/queries.yml" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }

if [ "${1:-}" = rules ]; then
  say "all right, after $SECONDS s; make deploy-check looks at the chart, compose.yaml and the workflows too"
  exit
fi

tools=$(scripts/deploy-tools.sh)
helm() { "$tools/helm" "$@" 2> >(grep -v 'found symbolic link' >&2); }

say "the chart"
helm lint --quiet --strict deploy/chart
for values in defaults deploy/chart/ci/*.yaml; do
  arguments=()
  if [ "$values" != defaults ]; then arguments=(-f "$values"); fi
  for way in "" --is-upgrade; do
    helm template parlor deploy/chart --namespace chat $way "${arguments[@]}" >"$work/manifests.yaml"
    count=$("$tools/python/bin/python" scripts/deploy-validate.py manifests "$work/manifests.yaml" "$work/rules.yml")
    if ! grep -q '"groups": \[\]' "$work/rules.yml"; then
      promtool check rules "$work/rules.yml" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
    fi
  done
  say "  $(basename "$values" .yaml): $count manifests"
done
refused=0
while IFS='|' read -r words arguments; do
  # shellcheck disable=SC2086
  if helm template parlor deploy/chart $arguments >"$work/log" 2>&1; then
    echo "deploy-check: not refused: $arguments" >&2
    exit 1
  fi
  grep -qF -- "$words" "$work/log" || { echo "deploy-check: $arguments: no word of \"$words\" in" >&2; cat "$work/log" >&2; exit 1; }
  refused=$((refused + 1))
done < <(grep -v '^#' deploy/chart/ci/refused.txt)
say "  $refused wrong sets of values are refused"

say "compose.yaml"
"$tools/python/bin/python" scripts/deploy-validate.py compose compose.yaml "$tools/compose-spec.json"

say "workflows"
"$tools/actionlint"

say "the settings that the chart writes"
cargo test --workspace --test it -- --ignored helm:: >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }

say "what is in the image"
cargo build --release --bin parlor
scripts/image-check.sh "${CARGO_TARGET_DIR:-target}/release/parlor" 60

say "all right, after $SECONDS s"
