//! The binary. Knows only the command line.
//!
//! Called by a person, a script, or a pod.
//! Invariant: every exit code comes from `cli::main`.

fn main() -> std::process::ExitCode {
    tidemill::cli::main()
}
