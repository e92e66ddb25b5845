//! Topics that an application needs: planned from its topology, printed, created, compared with what is there.
//!
//! Called by `cli/topics.rs` and by `runtime` at start. Sources are their owners' and are only looked at.
//! Invariant: nothing is altered; what is missing may be created, what is wrong is reported with its remedy.

use super::broker::{self, Brokers};
use super::errors::Fault;
use super::patience::Patience;
use rdkafka::admin::{NewTopic, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};
use tidemill_topology::{Settings, Topology};

const DAY_MS: u128 = 86_400_000;
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one question for metadata may take.
const QUESTION: Duration = Duration::from_secs(3);
/// How long a new topic may be unknown to some broker.
const NEWS: Duration = Duration::from_secs(3);

/// One topic as it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicPlan {
    pub name: String,
    pub partitions: i32,
    pub replication: i32,
    pub config: BTreeMap<String, String>,
    /// What it is for: changelog, repartition, output, dead letters.
    pub role: &'static str,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq)]
pub enum Difference {
    Missing {
        topic: String,
    },
    /// An internal topic that does not have its input's partitions.
    Partitions {
        topic: String,
        input: String,
        wanted: i32,
        found: i32,
    },
    Setting {
        topic: String,
        name: String,
        wanted: String,
        found: String,
    },
}

impl Difference {
    /// What to type. For a wrong setting, Kafka's own tool.
    fn remedy(&self) -> String {
        match self {
            Difference::Missing { .. } => "run 'tidemill topics create'".to_owned(),
            Difference::Partitions { .. } => {
                "if either has changed, keys have moved: restore it, or start a new app on the input".to_owned()
            }
            Difference::Setting { topic, name, wanted, .. } => {
                format!("run kafka-configs --alter --topic {topic} --add-config {name}={wanted}")
            }
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Missing { topic } => write!(f, "topic {topic} is missing"),
            Difference::Partitions { topic, input, wanted, found } => {
                write!(f, "topic {topic} has {found} partitions, its input {input} {wanted}")
            }
            Difference::Setting { topic, name, wanted, found } => {
                write!(f, "topic {topic} has {name}={found}, not {wanted}")
            }
        }?;
        write!(f, "; {}", self.remedy())
    }
}

/// The application's topics, and the cluster that they live on.
pub struct Topics<'a> {
    brokers: &'a Brokers,
    topology: &'a Topology,
    settings: &'a Settings,
}

impl<'a> Topics<'a> {
    pub fn of(brokers: &'a Brokers, topology: &'a Topology, settings: &'a Settings) -> Topics<'a> {
        Topics { brokers, topology, settings }
    }

    /// Partitions of every topic that a stage reads: sources, and what lies between two stages.
    ///
    /// # Errors
    /// A source that is not there: it is not ours to create.
    pub fn inputs(&self) -> Result<BTreeMap<String, i32>, Fault> {
        let mut found = BTreeMap::new();
        let between = |topic: &str| self.topology.repartitions.iter().find(|r| *r.topic == *topic);
        for stage in self.topology.stages.iter().filter(|s| between(&s.topic).is_none()) {
            let made_by_us = self.topology.outputs.iter().find(|o| o.name == stage.topic);
            let partitions = match (self.partitions(&stage.topic)?, made_by_us) {
                (Some(n), _) => n,
                (None, Some(_)) => continue,
                (None, None) => {
                    let cause = format!("topic {} of source '{}' is not there", stage.topic, stage.name);
                    return Err(Fault::configuration(format!("{cause}; create it, or correct the source's topic")));
                }
            };
            found.insert(stage.topic.to_string(), partitions);
        }
        for hop in &self.topology.repartitions {
            if let Some(partitions) = found.get(&*hop.source).copied() {
                found.insert(hop.topic.to_string(), partitions);
            }
        }
        Ok(found)
    }

    /// Every topic that Tidemill owns, as it should be: outputs, changelogs, dead letters.
    ///
    /// # Errors
    /// A source that is not there.
    pub fn plan(&self) -> Result<Vec<TopicPlan>, Fault> {
        let mut inputs = self.inputs()?;
        let mut plans = Vec::new();
        let keep: Vec<_> = self.settings.keep_ms.iter().map(|ms| ("retention.ms", ms.to_string())).collect();
        // An output may be another stage's source, so its partitions are an input's in turn.
        for output in &self.topology.outputs {
            let like = inputs.get(&*output.input).copied();
            let Some(partitions) = output.partitions.or(inputs.get(&*output.name).copied()).or(like) else { continue };
            inputs.entry(output.name.to_string()).or_insert(partitions);
            plans.push(self.planned(&output.name, partitions, "output", &keep));
        }
        for hop in &self.topology.repartitions {
            let Some(partitions) = inputs.get(&*hop.source).copied() else { continue };
            inputs.insert(hop.topic.to_string(), partitions);
            plans.push(self.planned(&hop.topic, partitions, "repartition", &repartition_config()));
        }
        for stage in self.topology.stages.iter() {
            let (Some(changelog), Some(partitions)) = (&stage.changelog, inputs.get(&*stage.topic)) else { continue };
            plans.push(self.planned(changelog, *partitions, "changelog", &changelog_config()));
        }
        let letters = &self.topology.dead_letters;
        let keep = letters.keep.as_millis().to_string();
        let config = [("retention.ms", keep), ("message.timestamp.type", "LogAppendTime".into())];
        let most = inputs.values().copied().max().unwrap_or(1);
        if !plans.iter().any(|p| *p.name == *letters.topic) {
            plans.push(self.planned(&letters.topic, most, "dead letters", &config));
        }
        Ok(plans)
    }

    fn planned(&self, name: &str, partitions: i32, role: &'static str, config: &[(&str, String)]) -> TopicPlan {
        let mut config: BTreeMap<String, String> = config.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
        config.insert("min.insync.replicas".to_owned(), self.settings.min_insync_replicas.to_string());
        TopicPlan { name: name.to_owned(), partitions, replication: self.settings.replication, config, role }
    }

    /// Creates what is missing; what is there is left as it is. The names created.
    ///
    /// # Errors
    /// The broker refuses.
    pub fn create(&self) -> Result<Vec<String>, Fault> {
        let mut created = Vec::new();
        for plan in self.plan()? {
            if self.partitions(&plan.name)?.is_some() {
                continue;
            }
            let new = NewTopic::new(&plan.name, plan.partitions, TopicReplication::Fixed(plan.replication));
            let new = plan.config.iter().fold(new, |t, (k, v)| t.set(k, v));
            let answer = futures_executor::block_on(self.brokers.admin.create_topics([&new], &broker::options()));
            let refused = |why: String| {
                let remedy = "check topics.replication against the number of brokers, and this user's right to create";
                Fault::configuration(format!("creating topic {}: {why}; {remedy}", plan.name))
            };
            match answer.map_err(|e| refused(e.to_string()))?.into_iter().next() {
                Some(Err((_, code))) if code != RDKafkaErrorCode::TopicAlreadyExists => {
                    return Err(refused(code.to_string()));
                }
                _ => created.push(plan.name),
            }
        }
        self.settled(&created)?;
        Ok(created)
    }

    /// Waits until every broker that we ask has heard of these topics.
    fn settled(&self, names: &[String]) -> Result<(), Fault> {
        let until = Instant::now() + PATIENCE;
        for name in names {
            while self.partitions(name)?.is_none() && Instant::now() < until {
                std::thread::sleep(broker::AGAIN);
            }
        }
        Ok(())
    }

    /// As [`Topics::check`]; a topic that is missing may only be news to the broker that was asked.
    ///
    /// # Errors
    /// The cluster cannot be asked.
    pub fn check_patiently(&self) -> Result<Vec<Difference>, Fault> {
        let mut patience = Patience::of(NEWS);
        loop {
            let differences = self.check()?;
            let missing = differences.iter().any(|d| matches!(d, Difference::Missing { .. }));
            if !missing || patience.is_over() {
                return Ok(differences);
            }
            std::thread::sleep(broker::AGAIN);
        }
    }

    /// What is missing or wrong.
    ///
    /// # Errors
    /// The cluster cannot be asked.
    pub fn check(&self) -> Result<Vec<Difference>, Fault> {
        let (mut differences, mut there) = (Vec::new(), Vec::new());
        for plan in self.plan()? {
            let topic = plan.name.clone();
            match self.partitions(&topic)? {
                None => differences.push(Difference::Missing { topic }),
                // Outputs may have been widened by their readers; an internal topic must match its input.
                Some(found) if found != plan.partitions && internal(plan.role) => {
                    let input = self.input_of(&topic);
                    differences.push(Difference::Partitions { topic, input, wanted: plan.partitions, found });
                }
                Some(_) if internal(plan.role) => there.push(plan),
                Some(_) => {}
            }
        }
        self.check_settings(&there, &mut differences)?;
        Ok(differences)
    }

    /// The topic that an internal one must have the partitions of.
    fn input_of(&self, topic: &str) -> String {
        let stage = self.topology.stages.iter().find(|s| s.changelog.as_deref() == Some(topic));
        let hop = self.topology.repartitions.iter().find(|r| *r.topic == *topic);
        stage.map(|s| &s.topic).or(hop.map(|h| &h.source)).map(ToString::to_string).unwrap_or_default()
    }

    fn check_settings(&self, plans: &[TopicPlan], differences: &mut Vec<Difference>) -> Result<(), Fault> {
        let names: Vec<&str> = plans.iter().map(|plan| plan.name.as_str()).collect();
        let found = self.brokers.describe_topics(&names)?;
        let settings = plans.iter().filter_map(|plan| Some((plan, found.get(&plan.name)?)));
        for (plan, found, name, wanted) in settings.flat_map(|(p, f)| p.config.iter().map(move |(n, w)| (p, f, n, w))) {
            let value = found.get(name).and_then(|e| e.value.clone()).unwrap_or_default();
            let enough = match name.as_str() {
                "delete.retention.ms" | "min.insync.replicas" => number(&value) >= number(wanted),
                _ => value == *wanted,
            };
            if !enough {
                let (topic, name, wanted) = (plan.name.clone(), name.clone(), wanted.clone());
                differences.push(Difference::Setting { topic, name, wanted, found: value });
            }
        }
        Ok(())
    }

    /// Partitions of a topic; `None` if it is not there.
    fn partitions(&self, topic: &str) -> Result<Option<i32>, Fault> {
        let mut patience = Patience::of(PATIENCE);
        let metadata = loop {
            match self.brokers.admin.inner().fetch_metadata(Some(topic), QUESTION) {
                Ok(metadata) => break metadata,
                Err(e) if patience.is_over() => {
                    let brokers = &self.brokers.connection.brokers;
                    return Err(Fault::failed(format!("metadata of {topic} at {brokers}: {e}; is the broker up?")));
                }
                Err(_) => std::thread::sleep(broker::AGAIN),
            }
        };
        let found = metadata.topics().iter().find(|t| t.name() == topic);
        let there = found.filter(|t| t.error().is_none() && !t.partitions().is_empty());
        Ok(there.map(|t| t.partitions().len() as i32))
    }
}

fn internal(role: &str) -> bool {
    matches!(role, "changelog" | "repartition")
}

/// Kept until its reader has committed what it read: a broker would delete old event times while they are being read.
fn repartition_config() -> [(&'static str, String); 2] {
    [("cleanup.policy", "delete".to_owned()), ("retention.ms", "-1".to_owned())]
}

fn changelog_config() -> [(&'static str, String); 3] {
    [
        ("cleanup.policy", "compact".to_owned()),
        ("delete.retention.ms", DAY_MS.to_string()),
        ("message.timestamp.type", "LogAppendTime".to_owned()),
    ]
}

fn number(text: &str) -> i64 {
    text.parse().unwrap_or(0)
}
