#!/usr/bin/env bash
# Builds by a profile of the engine at work (profile-guided optimisation): what is hot, cold and likely is then counted, not guessed.
# Our own crates alone are compiled twice; what they depend on, RocksDB and librdkafka with it, is as it was.
#   train.sh ARGUMENTS...   of cargo build: a profile, features, packages, binaries
# Source: The rustc book, "Profile-guided Optimization".
set -euo pipefail
cd "$(dirname "$0")/../.."
export CARGO_INCREMENTAL=0 # else our crates are cut into hundreds of pieces, whatever their profile says
tool=$(rustc --print target-libdir)/../bin/llvm-profdata
[[ -x $tool ]] || rustup component add llvm-tools >/dev/null 2>&1 || true
if [[ ! -x $tool ]]; then
  echo "train: no llvm-profdata (rustup component add llvm-tools): built without a profile, and slower" >&2
  exec cargo build "$@"
fi
work=$CARGO_TARGET_DIR/training
profile=$(grep -o -- '--release\|--profile [a-z]*' <<<"$*")
folder=${profile##* } && folder=${folder#--}
forget() { # Cargo does not know of the flag below, so it would take what was made with others
  local ours
  ours=$(cargo metadata --format-version 1 --no-deps | grep -o '"name":"tidemill[a-z-]*","version"' | cut -d'"' -f4)
  # shellcheck disable=SC2086,SC2046 # words: an option and its value, a pair for each crate
  cargo clean --quiet $profile $(printf -- '-p %s ' $ours)
}
build() { # a flag of rustc, arguments: the same in both turns, or names would not match: packages and features are in a crate's hash
  RUSTC_WORKSPACE_WRAPPER=$PWD/tests/cost/rustc-with TIDEMILL_RUSTC_FLAG=$1 cargo build "${@:2}" --example engine-cost
}
sources=$({ rustc -V; echo "$@"; find Cargo.* src topology state observability tests/cost -type f -name '*.[rtls]*' -print0 | sort -z | xargs -0 cat; } | sha256sum)
if [[ $(cat "$work/of" 2>/dev/null) != "$sources" ]]; then
  rm -rf "$work"
  mkdir -p "$work"
  forget
  build "-Cprofile-generate=$work" "$@"
  rm -f "$work"/*.profraw # of build scripts
  for run in w0 w1 w1e w4 rows; do "$CARGO_TARGET_DIR/$folder/examples/engine-cost" "$run" 300000 >/dev/null; done
  "$tool" merge -o "$work/engine.profdata" "$work"/*.profraw
  forget
  echo "$sources" >"$work/of"
fi
build "-Cprofile-use=$work/engine.profdata" "$@"
