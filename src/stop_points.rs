//! Places where a test may stop this process or hold one of its threads, and where it may take an answer away.
//!
//! Called by `kafka/`, `actors/` and `sinks/`. In a build without the feature `controls` it is nothing.
//! Invariant: a stop point changes nothing but whether and when a thread goes on; only [`is_unknown`] takes anything away.

/// The places. A step's name stands for its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// A lane is about to take the snapshot of its seal.
    Seal,
    /// A committer thread has the sealed values, and has sent nothing.
    Sealed,
    Send,
    Wait,
    Offsets,
    Commit,
    Apply,
    /// The consumer thread has served a rebalance, and has not yet published its snapshot.
    Served,
    /// The supervisor has been told of new tasks.
    Assigned,
    /// A restore is in the middle of a changelog.
    Restore,
    /// COMMIT is not called, and its outcome unknown.
    Unsent,
    /// COMMIT was answered, and its outcome unknown all the same.
    Unheard,
    /// A sink's rows and offset are written and not committed.
    SinkRows,
    /// They are committed.
    SinkCommit,
}

/// The place is reached.
#[cfg(not(feature = "controls"))]
pub fn reached(_: Point) {}

/// Is the outcome of COMMIT to be unknown?
#[cfg(not(feature = "controls"))]
pub fn is_unknown(_: Point) -> bool {
    false
}

/// The place is reached: the thread is held while the file `$TIDEMILL_HOLD/POINT` is there; `TIDEMILL_STOP_AT=POINT:k`
/// stops the process here, by SIGKILL or (`TIDEMILL_STOP_HOW=stop`) SIGSTOP.
#[cfg(feature = "controls")]
pub fn reached(point: Point) {
    use std::sync::atomic::{AtomicU64, Ordering};
    static TIMES: AtomicU64 = AtomicU64::new(0);
    hold(point);
    let Ok(at) = std::env::var("TIDEMILL_STOP_AT") else { return };
    let Some((step, times)) = at.split_once(':') else { return };
    if !step.eq_ignore_ascii_case(&format!("{point:?}")) {
        return;
    }
    if TIMES.fetch_add(1, Ordering::SeqCst) + 1 != times.parse().unwrap_or(1) {
        return;
    }
    eprintln!("stopped at {step}");
    let signal =
        if std::env::var("TIDEMILL_STOP_HOW").as_deref() == Ok("stop") { libc::SIGSTOP } else { libc::SIGKILL };
    // SAFETY: a signal to ourselves; nothing is shared with it.
    unsafe { libc::kill(libc::getpid(), signal) };
}

/// Is the outcome of COMMIT to be unknown? Once for each file `$TIDEMILL_HOLD/POINT`, which is removed. The client itself
/// asks a broker for as long as it takes, so nothing from outside brings this about.
#[cfg(feature = "controls")]
pub fn is_unknown(point: Point) -> bool {
    file(point).is_some_and(|file| std::fs::remove_file(file).is_ok())
}

#[cfg(feature = "controls")]
fn file(point: Point) -> Option<std::path::PathBuf> {
    let folder = std::env::var_os("TIDEMILL_HOLD")?;
    Some(std::path::Path::new(&folder).join(format!("{point:?}").to_lowercase()))
}

#[cfg(feature = "controls")]
fn hold(point: Point) {
    let Some(file) = file(point).filter(|file| file.exists()) else { return };
    eprintln!("held at {point:?}");
    while file.exists() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}
