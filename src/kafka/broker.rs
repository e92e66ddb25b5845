//! What the guarantees need of the brokers, asked before anything runs.
//!
//! Called by `runtime` at start and by `check --live`. One client asks it all: another one takes a tenth of a second to make and let go,
//! of which a restart has ten.
//! Invariant: a broker that does not verify partitions is refused, for a late Produce could join a later transaction.

use super::client::Connection;
use super::errors::{Fault, is_configuration};
use super::patience::Patience;
use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, OwnedResourceSpecifier, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);
/// Between two questions to a broker that did not answer.
pub(super) const AGAIN: Duration = Duration::from_millis(100);
const DAY_MS: i64 = 86_400_000;
const VERIFICATION: &str = "transaction.partition.verification.enable";

type Admin = AdminClient<DefaultClientContext>;

/// Keeps what a broker said when it refused the credentials: the call that waits for it only sees a lost connection.
#[derive(Default)]
struct Refusals(Mutex<Option<String>>);

impl ConsumerContext for Refusals {}

impl ClientContext for Refusals {
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code().is_some_and(is_configuration) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
        } else {
            tracing::debug!(%error, reason, "kafka");
        }
    }
}

impl Refusals {
    fn heard(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

pub(super) fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(PATIENCE))
}

/// Broker ids of the cluster.
///
/// # Errors
/// No broker answers, or the credentials are wrong.
pub(super) fn reach(connection: &Connection) -> Result<Vec<i32>, Fault> {
    let mut patience = Patience::of(PATIENCE);
    let wrong = |e: KafkaError| Fault::configuration(format!("{e}; check kafka.properties"));
    // A consumer, for an admin client never hears why a connection was lost.
    let probe: BaseConsumer<Refusals> = connection.raw().create_with_context(Refusals::default()).map_err(wrong)?;
    loop {
        match probe.fetch_metadata(None, Duration::from_secs(3)) {
            Ok(metadata) => return Ok(metadata.brokers().iter().map(|b| b.id()).collect()),
            Err(e) => {
                while probe.poll(Duration::from_millis(20)).is_some() {}
                unreachable_yet(connection, &e, probe.context().heard(), patience.is_over())?;
            }
        }
    }
}

fn unreachable_yet(
    connection: &Connection,
    error: &KafkaError,
    refusal: Option<String>,
    over: bool,
) -> Result<(), Fault> {
    let brokers = &connection.brokers;
    let refused = || error.rdkafka_error_code().is_some_and(is_configuration).then(|| error.to_string());
    if let Some(said) = refusal.or_else(refused) {
        let remedy = "check sasl.username, sasl.password and security.protocol in kafka.properties";
        return Err(Fault::configuration(format!("kafka at {brokers} refused us: {said}; {remedy}")));
    }
    if over {
        let remedy =
            "check kafka.brokers, that the broker runs, and security.protocol and credentials in kafka.properties";
        return Err(Fault::configuration(format!("no kafka broker answers at {brokers}: {error}; {remedy}")));
    }
    Ok(())
}

/// A cluster that has answered.
#[derive(Clone)]
pub struct Brokers {
    pub(super) admin: Arc<Admin>,
    pub(super) connection: Connection,
    ids: Vec<i32>,
}

impl Brokers {
    /// # Errors
    /// No broker answers, or the credentials are wrong.
    pub fn reach(connection: &Connection) -> Result<Brokers, Fault> {
        let wrong = |e: KafkaError| Fault::configuration(format!("{e}; check kafka.properties"));
        let admin = Arc::new(connection.admin().create().map_err(wrong)?);
        Ok(Brokers { admin, connection: connection.clone(), ids: reach(connection)? })
    }

    /// Refuses a cluster on which the guarantees would not hold.
    ///
    /// # Errors
    /// Names the broker, its setting and the remedy.
    pub fn refuse_unfit(&self) -> Result<(), Fault> {
        for id in &self.ids {
            let described = self.describe(&[ResourceSpecifier::Broker(*id)])?;
            // Who may not look is shown a broker without settings.
            let Some(broker) = described.first().filter(|broker| !broker.entries.is_empty()) else {
                let cause = format!("this user may not read the settings of broker {id}");
                return Err(Fault::configuration(format!(
                    "{cause}; grant DescribeConfigs on the cluster to this user"
                )));
            };
            match broker.get(VERIFICATION).and_then(|entry| entry.value.as_deref()) {
                Some("true") => {}
                Some(_) => {
                    let cause =
                        format!("broker {id} has {VERIFICATION}=false: a delayed record could be committed twice");
                    return Err(Fault::configuration(format!("{cause}; set it to true, its default")));
                }
                None => {
                    let cause = format!("broker {id} does not know {VERIFICATION}");
                    return Err(Fault::configuration(format!("{cause}: it is older than Kafka 3.6; upgrade it")));
                }
            }
        }
        Ok(())
    }

    /// How long each of these topics keeps tombstones, ms.
    ///
    /// # Errors
    /// One is not there, or may not be described; it is named.
    pub fn delete_retention_ms(&self, topics: &[&str]) -> Result<BTreeMap<String, i64>, Fault> {
        let found = self.describe_topics(topics)?;
        let kept = |topic: &ConfigResource| topic.get("delete.retention.ms")?.value.as_deref()?.parse().ok();
        let of = |name: &str| found.get(name).and_then(kept).unwrap_or(DAY_MS);
        Ok(topics.iter().map(|name| ((*name).to_owned(), of(name))).collect())
    }

    /// How long each of these topics keeps a record, ms by the time that the record bears; not in it are those that
    /// go by its arrival or keep all. Nothing is refused for want of the answer: it is only for a warning.
    pub fn retention_ms(&self, topics: &[&str]) -> BTreeMap<String, i64> {
        let found = self.describe_topics(topics).unwrap_or_else(|fault| {
            tracing::warn!(cause = fault.cause, "results that are older than their topic keeps will not be noticed");
            BTreeMap::new()
        });
        found.into_iter().filter_map(|(name, topic)| Some((name, deletes_by_time(&topic)?))).collect()
    }

    /// Settings of topics, by their names.
    pub(super) fn describe_topics(&self, topics: &[&str]) -> Result<BTreeMap<String, ConfigResource>, Fault> {
        let asked: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
        let found = if asked.is_empty() { Vec::new() } else { self.describe(&asked)? };
        let named = found.into_iter().filter_map(|topic| match &topic.specifier {
            OwnedResourceSpecifier::Topic(name) => Some((name.clone(), topic)),
            _ => None,
        });
        Ok(named.collect())
    }

    /// Settings of brokers or topics. A broker that does not answer is asked again for a while.
    fn describe(&self, of: &[ResourceSpecifier<'_>]) -> Result<Vec<ConfigResource>, Fault> {
        let mut patience = Patience::of(3 * PATIENCE);
        loop {
            let (which, code) = match futures_executor::block_on(self.admin.describe_configs(of, &options())) {
                // In the order of the questions.
                Ok(answers) => match answers.iter().position(Result::is_err) {
                    None => return Ok(answers.into_iter().flatten().collect()),
                    Some(at) => (&of[at..=at], answers.into_iter().find_map(Result::err).expect("it is there")),
                },
                Err(KafkaError::AdminOp(code)) => (of, code),
                Err(e) => return Err(Fault::failed(format!("describing {of:?}: {e}"))),
            };
            if is_configuration(code) {
                let cause = format!("describing {which:?}: {code}; grant DescribeConfigs to this user");
                return Err(Fault::configuration(cause));
            }
            if patience.is_over() {
                return Err(Fault::failed(format!(
                    "describing {which:?}: {code}; the brokers do not answer, try again"
                )));
            }
            std::thread::sleep(AGAIN);
        }
    }
}

/// By Kafka's own defaults where it does not say.
fn deletes_by_time(topic: &ConfigResource) -> Option<i64> {
    let value = |name: &str| topic.get(name).and_then(|entry| entry.value.as_deref());
    let by_arrival = value("message.timestamp.type") == Some("LogAppendTime");
    let deletes = value("cleanup.policy").is_none_or(|policy| policy.contains("delete"));
    let retention = value("retention.ms")?.parse().ok().filter(|ms| *ms >= 0);
    retention.filter(|_| deletes && !by_arrival)
}
