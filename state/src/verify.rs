//! Every block of a database held against its checksum: what RocksDB offers in C, and crate `rocksdb` does not. It must not know what is
//! stored. A store calls it. The invariant: a pointer from RocksDB never leaves a call of this file.

use librocksdb_sys::{rocksdb_free, rocksdb_verify_checksum};
use rocksdb::{AsRawPtr, DB};
use std::ffi::{CStr, c_char};

/// Reads all files, block by block, without looking at entries. What a memtable still holds is not read.
///
/// # Errors
/// What RocksDB says of the first block, or file, that is not as it was written.
pub(crate) fn blocks(db: &DB) -> Result<(), String> {
    let mut cause: *mut c_char = std::ptr::null_mut();
    // SAFETY: the database is open for as long as it is borrowed, and knows nothing of the call once it is over. A cause that is
    // set is a text with a NUL at its end, ours to free, and used no more behind that.
    unsafe {
        rocksdb_verify_checksum(db.as_raw_ptr(), &raw mut cause);
        if cause.is_null() {
            return Ok(());
        }
        let text = CStr::from_ptr(cause).to_string_lossy().into_owned();
        rocksdb_free(cause.cast());
        Err(text)
    }
}
