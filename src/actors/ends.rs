//! Where inputs end: asked of the brokers on a thread of its own, for tasks that have been at the end for long.
//!
//! Asked by lanes, answered to partition actors. Knows nothing of time. Invariant: an end is fetched after it was asked
//! for, never kept.

use crate::clock;
use crate::kafka::{Fault, Log};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

/// One question.
pub struct Asked {
    pub topic: Arc<str>,
    pub partition: i32,
    /// Takes the answer and the wall time at which it was asked, ms; `None`: the broker did not give one.
    pub tell: Box<dyn FnOnce(Option<i64>, i64) + Send>,
}

/// A handle to the thread; there are never more questions on their way than tasks.
#[derive(Clone)]
pub struct Ends(Sender<Asked>);

impl Ends {
    /// # Errors
    /// No thread.
    pub fn start(log: Arc<Log>) -> Result<Ends, Fault> {
        let (ask, asked) = channel::<Asked>();
        let answer = move || {
            for Asked { topic, partition, tell } in asked {
                // Before, not after: an answer may be long on its way, and what is written meanwhile is not behind it.
                let asked = clock::now();
                tell(log.end(&topic, partition), asked);
            }
        };
        let thread = std::thread::Builder::new().name("ends".into()).spawn(answer);
        thread.map_err(|e| Fault::failed(format!("no thread for the ends of inputs: {e}")))?;
        Ok(Ends(ask))
    }

    pub fn ask(&self, asked: Asked) {
        if self.0.send(asked).is_err() {
            tracing::debug!("nobody answers where inputs end: the process is ending");
        }
    }
}
