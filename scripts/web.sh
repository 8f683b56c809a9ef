#!/usr/bin/env bash
# The web page, in web/: `build` makes web/dist, which the server's build takes in; `lint` and `test` check it.
set -euo pipefail
cd "$(dirname "$0")/../web"

if ! command -v npm >/dev/null; then
  echo "web: npm is missing (nodejs.org, or 'apt install nodejs npm')" >&2
  # A server without its page is still a server, and says so on its first page.
  if [ "${1:-}" = build ]; then
    echo "web: going on without the page" >&2
    exit 0
  fi
  exit 1
fi

# The packages, when the list of them is another than at the last time.
packages() {
  local wanted stamp=node_modules/.parlor-packages
  wanted=$(cat package.json package-lock.json packages/*/package.json | sha256sum)
  [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
  echo "web: fetching packages (npm ci) …"
  npm ci --silent
  echo "$wanted" >"$stamp"
}

build() {
  local made=dist/index.html
  local sources=(index.html package-lock.json vite.config.ts tsconfig.json public src packages)
  if [ -f "$made" ] && [ -z "$(find "${sources[@]}" -newer "$made" -type f -not -path '*/node_modules/*' -print -quit)" ]; then return; fi
  packages
  echo "web: building the page …"
  npm run --silent build
}

case "${1:-}" in
  build) build ;;
  lint) packages && npm run --silent lint && npm run --silent types:check ;;
  test)
    packages && build
    status=0
    npm test --silent || status=1
    npm run --silent e2e || status=1
    exit "$status"
    ;;
  *) echo "usage: scripts/web.sh build|lint|test" >&2; exit 2 ;;
esac
