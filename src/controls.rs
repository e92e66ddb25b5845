//! The binary with controls: the same program, in which a test may remove one protection (`TIDEMILL_CONTROL`).
//!
//! Called by the torture and by tests; never installed. Knows only the command line.
//! Invariant: without `TIDEMILL_CONTROL`, `TIDEMILL_STOP_AT` and `TIDEMILL_HOLD` it is `tidemill`.

fn main() -> std::process::ExitCode {
    tidemill::cli::main()
}
