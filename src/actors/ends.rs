//! Where inputs end: asked of the brokers on a thread of its own, for tasks that have been at the end for long.
//!
//! Asked by lanes, answered to partition actors. Knows nothing of time. Invariant: an end is fetched after it was asked
//! for, never kept.

use crate::clock;
use crate::kafka::Fault;
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
    /// `look` asks where a partition of a topic ends.
    ///
    /// # Errors
    /// No thread.
    pub fn start(look: impl Fn(&str, i32) -> Option<i64> + Send + 'static) -> Result<Ends, Fault> {
        let (ask, asked) = channel::<Asked>();
        let answer = move || {
            for Asked { topic, partition, tell } in asked {
                // Before, not after: an answer may be long on its way, and what is written meanwhile is not behind it.
                let asked = clock::now();
                tell(look(&topic, partition), asked);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::time::Duration;

    /// Else what was written while the answer was on its way would be called late.
    #[test]
    fn the_clock_of_an_answer_is_that_of_before_the_question() {
        let answered = Arc::new(AtomicI64::new(0));
        let at = answered.clone();
        let slow = move |_: &str, _| {
            at.store(clock::now(), Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(30));
            Some(7)
        };
        let (tell, told) = channel();
        let tell = Box::new(move |end, asked| tell.send((end, asked)).unwrap());
        Ends::start(slow).unwrap().ask(Asked { topic: "t".into(), partition: 0, tell });
        let (end, asked) = told.recv().unwrap();
        assert_eq!(end, Some(7));
        assert!(asked <= answered.load(Ordering::SeqCst), "the answer's clock is {asked}");
    }
}
