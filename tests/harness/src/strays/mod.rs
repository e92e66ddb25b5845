//! Requests that come late, against the product: one real broker behind the proxy, one process, and requests held back,
//! cut or lost at every position of a transaction. Knows the product by its command line, its log and its topics.
//! Called by the driver `strays` and its short form. Invariant: what reached the broker late is known by the broker's
//! own answer, and every committed record is compared with the input.

mod abort;
mod app;
mod check;
pub mod controls;
mod moved;
mod proofs;
mod report;
mod schedule;
mod trickle;
mod world;

pub use abort::aborts;
pub use app::App;
pub use moved::{Stopped, moved};
pub use proofs::{Verification, cuts_recycle, healthy, late_produce, refused_by_run};
pub use report::Report;
pub use schedule::{Kill, Schedule, commits, dangerous, kinds};
pub use world::{Program, World};

/// Strays of one application; then it is compared with its input.
const ROUND: usize = 25;

/// Runs the schedules, a fresh application for every so many. `is_enough` is asked after each round.
pub fn run(
    world: &World,
    schedules: &[Schedule],
    report: &mut Report,
    mut is_enough: impl FnMut(&Report) -> bool,
) -> Result<(), String> {
    for round in schedules.chunks(ROUND) {
        let mut app = App::start(world, 1)?;
        for schedule in round {
            app.stray(schedule, report)?;
            if app.halted.is_some() {
                break;
            }
        }
        app.finish(report)?;
        if is_enough(report) {
            break;
        }
    }
    Ok(())
}
