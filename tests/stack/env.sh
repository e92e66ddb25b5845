# shellcheck shell=bash
# Sourced by the Makefile and by people before any cargo command: where build output and the prebuilt RocksDB lie.
# Keep the values constant: cargo rebuilds everything when RUSTFLAGS or ROCKSDB_LIB_DIR change.
# --exclude-libs: else our own static lz4 and zstd symbols take the place of those inside librocksdb.so.
export TIDEMILL_CACHE=${TIDEMILL_CACHE:-$HOME/.cache/tidemill}
export CARGO_TARGET_DIR=$TIDEMILL_CACHE/target
export ROCKSDB_LIB_DIR=$TIDEMILL_CACHE/rocksdb
export RUSTFLAGS="-Clink-arg=-Wl,-rpath,$ROCKSDB_LIB_DIR -Clink-arg=-Wl,--exclude-libs,ALL"
export CARGO_INCREMENTAL=1
# Programs and tests of this workspace know where their checkout lies, and cargo takes those of another one for its own: what was built
# there is built again. What they depend on is shared.
__here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
if [[ $(cat "$CARGO_TARGET_DIR/checkout" 2>/dev/null) != "$__here" ]]; then
  rm -rf "$CARGO_TARGET_DIR"/*/.fingerprint/tidemill*
  mkdir -p "$CARGO_TARGET_DIR" && echo "$__here" >"$CARGO_TARGET_DIR/checkout"
fi
unset __here
# Where rustup puts cargo, for a shell that was opened before it came.
command -v cargo >/dev/null 2>&1 || PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
