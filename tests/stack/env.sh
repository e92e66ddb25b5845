# shellcheck shell=bash
# Sourced by the Makefile and by people before any cargo command: where build output and the prebuilt RocksDB lie.
# Keep the values constant: cargo rebuilds everything when RUSTFLAGS or ROCKSDB_LIB_DIR change.
# --exclude-libs: else our own static lz4 and zstd symbols take the place of those inside librocksdb.so.
export TIDEMILL_CACHE=${TIDEMILL_CACHE:-$HOME/.cache/tidemill}
export CARGO_TARGET_DIR=$TIDEMILL_CACHE/target
export ROCKSDB_LIB_DIR=$TIDEMILL_CACHE/rocksdb
export RUSTFLAGS="-Clink-arg=-Wl,-rpath,$ROCKSDB_LIB_DIR -Clink-arg=-Wl,--exclude-libs,ALL"
export CARGO_INCREMENTAL=1
# Where rustup puts cargo, for a shell that was opened before it came.
command -v cargo >/dev/null 2>&1 || PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
