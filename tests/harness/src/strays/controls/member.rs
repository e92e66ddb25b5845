//! A member that is lost and does not hear of it: its snapshot has tasks and no member, or those of others. Called through the table in `mod.rs`.
//! Invariant: when the values go out, the group is empty, for only then does a broker take offsets of nobody.

use super::super::app::App;
use super::super::report::Report;
use super::super::world::World;
use super::moves::{go_on, join_while_held};
use std::time::Duration;

/// Why the product holds without `real_member`, on Kafka 4.3 and librdkafka 2.12.
pub const WHY: &str = "a static member that is lost keeps its generation in librdkafka and loses its id, and the broker \
    refuses that; generation -1, which it takes while the group is empty, comes from IllegalGeneration alone";

/// A consumer thread that is held loses its tasks soon.
const PROPERTIES: &str = r#"session.timeout.ms: "3000", max.poll.interval.ms: "3000", transaction.timeout.ms: "20000""#;
/// The next owner recovers and commits.
const WORKS: Duration = Duration::from_millis(6_500);
/// Its session, and some more.
const EMPTY: Duration = Duration::from_secs(5);

/// librdkafka drops the news of a loss that falls into a rebalance: it joins anew and keeps the tasks that stay.
pub fn nobody(world: &World, report: &mut Report) -> Result<(), String> {
    let mut app = App::start_with(world, 1, PROPERTIES)?;
    let joined = join_while_held(&mut app)?;
    // The first loses all its tasks: it does not poll.
    app.given(1, joined)?;
    std::thread::sleep(WORKS);
    app.leave(1, libc::SIGKILL)?;
    std::thread::sleep(EMPTY);
    app.release(0, "served");
    app.release(0, "seal");
    go_on(&mut app, "a member that was lost and not told", report)?;
    app.finish(report)
}
