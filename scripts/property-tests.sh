#!/usr/bin/env bash
# Names the test modules that hold property tests, as filters for `cargo test --lib`.
set -euo pipefail

grep -rl 'proptest!' src --include='*.rs' | sed -e 's|^src/||' -e 's|\.rs$||' -e 's|/|::|g' | sort
