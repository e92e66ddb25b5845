//! Groupings: what a key's records fold into, in a window or for ever, and when it speaks.
//!
//! [`Group`] is the definition, shared by all tasks of a stage; [`GroupState`] is one task's entries of it.
//! Knows nothing of Kafka or of how a seal travels. Invariant: a result is written at the same place as the fold that
//! it comes from, so restoring the entries restores what is still to be said.

pub(crate) mod aggregate;
mod bundle;
mod by;
mod cell;
mod group;
mod hopping;
mod look;
mod owed;
mod partials;
mod row;
mod scan;
mod sketch;
mod sliding;
mod state;
mod window;

pub(crate) use aggregate::distinct::Place;
pub(crate) use bundle::Bundle;
pub(crate) use by::{By, KeyField};
pub(crate) use cell::Cell;
pub(crate) use group::{Emit, Fold, Group, Pending, Target};
pub(crate) use look::{Ended, Look, Which, open_row};
pub(crate) use partials::{Hop, Partials, Sender, partition_of};
pub(crate) use row::{KeyForm, RowOutput, ValueForm};
pub(crate) use scan::Room;
pub(crate) use state::{GroupState, Mute, SLICE, Said};
pub(crate) use window::Window;
