#!/bin/sh
# Prints what the changelog says about a version; fails when it says nothing.
#
#   scripts/release-notes.sh 0.1.0
set -eu
version=${1:?which version}
notes=$(awk -v head="## [$version]" '
    index($0, head) == 1 { inside = 1; next }
    inside && /^## \[/ { exit }
    inside { print }' "$(dirname "$0")/../CHANGELOG.md")
[ -n "$(echo "$notes" | tr -d ' \n')" ] || { echo "CHANGELOG.md says nothing about $version" >&2; exit 1; }
echo "$notes" | sed '/./,$!d'
