//! (bodies follow)
use crate::{Changes, StateId, StateStore, StoreError, codec::CodecError};
use serde::{Serialize, de::DeserializeOwned};
/// Reads a value of an older version.
pub type Older<V> = fn(u8, &[u8]) -> Result<V, CodecError>;
/// A slice of one bucket, in key order.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// Which bucket.
    pub bucket: u64,
    /// The key before the first one wanted; `None`: from the bucket's beginning.
    pub after: Option<&'a [u8]>,
    /// At most so many entries.
    pub limit: usize,
}
/// A keyed state: memory in front of a store.
pub struct Table<V> { v: Option<V> }
#[allow(unused_variables, missing_docs)]
impl<V: Serialize + DeserializeOwned + Clone> Table<V> {
    pub fn new(id: StateId, version: u8) -> Self { unreachable!("body follows") }
    pub fn with_older(id: StateId, version: u8, older: Older<V>) -> Self { unreachable!("body follows") }
    pub fn get(&mut self, store: &dyn StateStore, bucket: u64, key: &[u8]) -> Result<Option<&V>, StoreError> { let _ = &self.v; unreachable!("body follows") }
    pub fn get_mut(&mut self, store: &dyn StateStore, bucket: u64, key: &[u8]) -> Result<Option<&mut V>, StoreError> { unreachable!("body follows") }
    pub fn put(&mut self, bucket: u64, key: &[u8], value: V) { unreachable!("body follows") }
    pub fn remove(&mut self, bucket: u64, key: &[u8]) { unreachable!("body follows") }
    pub fn seal(&mut self, sequence: u64, out: &mut Changes) { unreachable!("body follows") }
    pub fn applied(&mut self, sequence: u64) { unreachable!("body follows") }
    pub fn evict(&mut self, target_bytes: usize) { unreachable!("body follows") }
    pub fn bytes(&self) -> usize { unreachable!("body follows") }
    pub fn len(&self) -> usize { unreachable!("body follows") }
    pub fn is_empty(&self) -> bool { unreachable!("body follows") }
    pub fn is_dirty(&self) -> bool { unreachable!("body follows") }
    pub fn dirty(&self) -> usize { unreachable!("body follows") }
    pub fn buckets(&mut self, store: &dyn StateStore) -> Result<impl Iterator<Item = u64> + '_, StoreError> { Ok(std::iter::empty()) }
    pub fn bucket_entries(&mut self, store: &dyn StateStore, bucket: u64, limit: usize, each: impl FnMut(&[u8], &V)) -> Result<usize, StoreError> { unreachable!("body follows") }
    pub fn page(&mut self, store: &dyn StateStore, page: Page<'_>, each: impl FnMut(&[u8], &V)) -> Result<usize, StoreError> { unreachable!("body follows") }
    pub fn expire_before(&mut self, store: &dyn StateStore, bucket: u64, limit: usize) -> Result<usize, StoreError> { unreachable!("body follows") }
    pub fn reclaim(&mut self, store: &dyn StateStore) -> Result<(), StoreError> { unreachable!("body follows") }
}
