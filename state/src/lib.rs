//! The state room: what a task remembers, and where it keeps it. A leaf: it knows neither Kafka nor topologies.
//! `topology` calls it on the data path, the root's recovery fills and opens stores. The invariant: a store holds
//! exactly the live keys of a committed prefix of its changelog, byte for byte, and memory never reads past that rule.
//!
//! A [`Table`] maps a key to a small value; an [`IdSet`] remembers fingerprints. Both are a write-back cache over a
//! [`StateStore`]: change them in place, [`seal`](Table::seal) what changed into [`Changes`], send those to the log,
//! and once the log has committed, [`apply`](StateStore::apply) the very same bytes:
//!
//! ```
//! use tidemill_state::{Changes, MemoryStore, Meta, StateStore, Table};
//!
//! let store = MemoryStore::new();
//! let mut clicks: Table<u64> = Table::new(1, 1); // state id 1, values of version 1
//! let hour = 1_767_261_600_000; // the bucket: a window's start in ms
//! let so_far = clicks.get(&store, hour, b"anna")?.copied().unwrap_or(0);
//! clicks.put(hour, b"anna", so_far + 1);
//!
//! let mut changes = Changes::new();
//! clicks.seal(1, &mut changes); // these bytes go into the transaction ...
//! store.apply(&changes, &Meta { checkpoint: vec![], position: 2, append_time: 0 })?; // ... and, committed, here
//! clicks.applied(1); // from now on the entry may be evicted
//! clicks.evict(0);
//! assert_eq!(clicks.get(&store, hour, b"anna")?, Some(&1)); // read back from the store
//! # Ok::<(), tidemill_state::StoreError>(())
//! ```

pub mod codec;
pub mod held;
pub mod keys;

mod buckets;
mod changes;
mod error;
mod filling;
mod id_set;
mod ids;
mod memory;
mod prefetch;
mod prints;
mod rebuild;
mod rocks;
mod room;
mod slots;
mod store;
mod table;
mod verify;

pub use changes::Changes;
pub use codec::CodecError;
pub use error::StoreError;
pub use id_set::{IdSet, IdShape, fingerprint};
pub use keys::StateId;
pub use memory::MemoryStore;
pub use prints::Width;
pub use rebuild::Rebuild;
pub use rocks::{RocksOptions, RocksStore, rocksdb_version};
pub use room::IdRoom;
pub use store::{Figures, Meta, StateStore, View};
pub use table::{Older, Page, Table};
