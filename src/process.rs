//! The end of the process: one line that says why, then no destructor that could still write something.
//!
//! Called from any thread. Committed work is in Kafka and uncommitted work is to be forgotten, so there is nothing to
//! save on the way out.
//! Invariant: whoever exits through here says the cause and, for configuration, leaves with 78.

use crate::exits;
use std::cell::RefCell;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tidemill_topology::TaskId;

/// Exit codes, as the README documents them.
pub const DONE: i32 = 0;
pub const FAILED: i32 = 1;
pub const USAGE: i32 = 2;
pub const CONFIGURATION: i32 = 78;

/// How long the end waits for the collector; a fifth of it where something went wrong.
pub const LAST_SPANS: Duration = Duration::from_secs(5);

static LEAVING: AtomicBool = AtomicBool::new(false);

thread_local! {
    static WORK: RefCell<Option<(TaskId, i64, i64)>> = const { RefCell::new(None) };
}

/// Ends the process at once: 78 where a setting or a topic is the remedy, else 1.
pub fn exit(cause: &str, configuration: bool) {
    let code = if configuration { CONFIGURATION } else { FAILED };
    if LEAVING.swap(true, Ordering::SeqCst) {
        return; // another thread is leaving, with the first cause
    }
    tracing::error!(code, cause, "exit");
    exits::note(exits::word(cause, configuration));
    leave(code);
}

/// Ends the process without a word; spans that wait have a moment, if there are any.
pub fn leave(code: i32) -> ! {
    tidemill_observability::trace::stop(if code == DONE { LAST_SPANS } else { LAST_SPANS / 5 });
    // SAFETY: ends the process; no destructor runs beside librdkafka's and RocksDB's threads.
    unsafe { libc::_exit(code) }
}

/// A command whose output is cut (`| head`) ends quietly, as every Unix tool does.
pub fn end_with_the_reader() {
    // SAFETY: before any thread is started; the default action replaces Rust's ignoring.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// A limit on the size of files is met as a failing write, which says where; the signal would end the process mute.
pub fn hear_file_limits() {
    // SAFETY: before any thread is started; ignoring a signal touches no memory.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Bytes that are free for us on the disk of a path, and bytes in all.
pub fn disk(path: &Path) -> Option<(u64, u64)> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: all zeros are a value of this plain struct.
    let mut told: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends with a NUL, and the place is our own.
    let done = unsafe { libc::statvfs(path.as_ptr(), &mut told) };
    (done == 0).then(|| (told.f_bavail * told.f_frsize, told.f_blocks * told.f_frsize))
}

/// How many files this process may have open.
pub fn file_limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the place is our own.
    let done = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    (done == 0).then_some(limit.rlim_cur)
}

/// Notes which batch this thread works on, for the panic hook.
pub fn working_on(task: &TaskId, from: i64, next: i64) {
    WORK.with(|w| *w.borrow_mut() = Some((task.clone(), from, next)));
}

/// A panic says which batch it met, and ends the process: half a batch in memory must not be sealed.
pub fn abort_on_panic() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        told(info);
        let work = WORK.try_with(|w| w.borrow().clone()).ok().flatten();
        match work {
            Some((task, from, next)) => {
                tracing::error!(%task, from, next, "panic while working on the batch with these offsets");
            }
            None => tracing::error!("panic"),
        }
        exits::note("failed");
        std::process::abort();
    }));
}
