#!/usr/bin/env bash
# Says what is missing to build Parlor, and how to get it.
set -euo pipefail

missing=0
need() {
  command -v "$1" >/dev/null && return
  echo "missing: $1. $2" >&2
  missing=1
}
need cargo "Install Rust from https://rustup.rs, then open a new shell."
# SQLite and the cryptography are C.
need cc "Install a C compiler: 'apt install build-essential' or 'dnf install gcc make'."
exit "$missing"
