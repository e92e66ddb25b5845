//! Places where a test may stop this process: at the end of a named step of a transaction, at the k-th time.
//!
//! Called by `kafka/committer.rs` and `actors/committer.rs`. In a build without the feature `controls` it is nothing.
//! Invariant: a stop point changes nothing but whether the process goes on.

/// The steps whose end is a stop point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    Send,
    Wait,
    Offsets,
    Commit,
    Apply,
}

/// The end of a step is reached.
#[cfg(not(feature = "controls"))]
pub fn reached(_: Point) {}

/// The end of a step is reached: `TIDEMILL_STOP_AT=STEP:k` stops here, by SIGKILL or (`TIDEMILL_STOP_HOW=stop`) SIGSTOP.
#[cfg(feature = "controls")]
pub fn reached(point: Point) {
    use std::sync::atomic::{AtomicU64, Ordering};
    static TIMES: AtomicU64 = AtomicU64::new(0);
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
