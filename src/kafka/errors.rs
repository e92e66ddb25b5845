//! What an error of librdkafka means for us: named by what to do next.
//!
//! Used by every file of this room; nobody outside sees a librdkafka code.
//! Invariant: every code that is not listed here as something better is `Unclear`, and unclear in COMMIT is unknown.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::fmt;

/// A failure that the caller shows to a person: what, where, what to do, in one line.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    pub cause: String,
    /// A setting, a right or a topic is the remedy (exit code 78).
    pub configuration: bool,
}

impl Fault {
    pub fn configuration(cause: impl Into<String>) -> Fault {
        Fault { cause: cause.into(), configuration: true }
    }

    pub fn failed(cause: impl Into<String>) -> Fault {
        Fault { cause: cause.into(), configuration: false }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

impl std::error::Error for Fault {}

/// What to do after a transactional call failed.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Class {
    /// The same call again.
    Retriable,
    /// The group moved: abort, and send again once a newer snapshot is out.
    GroupMoved,
    /// Abort, and send again.
    Abortable,
    Fenced,
    /// A right, a size or a topic: trying again will not help.
    Configuration,
    /// The producer is of no use any more; it says so itself.
    Dead,
    /// Nothing is known.
    Unclear,
}

pub(super) fn classify(error: &KafkaError) -> Class {
    let code = error.rdkafka_error_code();
    if code.is_some_and(is_configuration) {
        return Class::Configuration;
    }
    let KafkaError::Transaction(e) = error else {
        return if code.is_some_and(is_fenced) { Class::Fenced } else { Class::Unclear };
    };
    if e.is_fatal() {
        return if code.is_some_and(is_fenced) { Class::Fenced } else { Class::Dead };
    }
    if e.is_retriable() {
        return Class::Retriable;
    }
    if !e.txn_requires_abort() {
        return Class::Unclear;
    }
    if code.is_some_and(is_group_moved) { Class::GroupMoved } else { Class::Abortable }
}

fn is_fenced(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::*;
    matches!(code, Fenced | ProducerFenced | InvalidProducerEpoch)
}

fn is_group_moved(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::*;
    matches!(code, IllegalGeneration | UnknownMemberId | FencedInstanceId | RebalanceInProgress | StaleMemberEpoch)
}

/// Codes that only a person can mend. An unknown topic or partition is not among them: while a broker is away, the
/// others may not know it yet; whether topics are there is asked at the start.
pub(super) fn is_configuration(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::*;
    matches!(
        code,
        TopicAuthorizationFailed
            | GroupAuthorizationFailed
            | ClusterAuthorizationFailed
            | TransactionalIdAuthorizationFailed
            | SaslAuthenticationFailed
            | Authentication
            | MessageSizeTooLarge
            | InvalidMessageSize
            | PolicyViolation
            | UnsupportedVersion
            | UnsupportedForMessageFormat
            | InvalidTransactionTimeout
    )
}
