//! (bodies follow)
use crate::{Changes, Meta, StateStore, StoreError};
use std::path::Path;
/// One memory budget for all stores of a process.
#[derive(Clone)]
pub struct RocksOptions { cache: usize }
#[allow(unused_variables, missing_docs)]
impl RocksOptions { pub fn new(budget_bytes: usize) -> RocksOptions { RocksOptions { cache: budget_bytes } } }
/// A store in RocksDB.
pub struct RocksStore { dir: std::path::PathBuf }
/// A store being built again.
pub struct Rebuild { store: RocksStore }
#[allow(unused_variables, missing_docs)]
impl RocksStore {
    pub fn open(dir: &Path, options: &RocksOptions) -> Result<RocksStore, StoreError> { let _ = options.cache; unreachable!("body follows") }
    pub fn open_read_only(dir: &Path) -> Result<RocksStore, StoreError> { unreachable!("body follows") }
    pub fn rebuild(dir: &Path, options: &RocksOptions) -> Result<Rebuild, StoreError> { unreachable!("body follows") }
    pub fn dir(&self) -> &Path { &self.dir }
}
#[allow(missing_docs)]
impl Rebuild {
    pub fn store(&self) -> &RocksStore { &self.store }
    pub fn finish(self) -> Result<RocksStore, StoreError> { unreachable!("body follows") }
}
#[allow(unused_variables)]
impl StateStore for RocksStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> { unreachable!("body follows") }
    fn query(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<Option<Meta>, StoreError> { unreachable!("body follows") }
    fn apply(&self, changes: &Changes, meta: &Meta) -> Result<(), StoreError> { unreachable!("body follows") }
    fn delete_range(&self, from: &[u8], to: &[u8]) -> Result<(), StoreError> { unreachable!("body follows") }
    fn meta(&self) -> Result<Option<Meta>, StoreError> { unreachable!("body follows") }
    fn flush(&self) -> Result<(), StoreError> { unreachable!("body follows") }
}
