//! From sources, steps and outputs as written to the compiled graph.
//!
//! Called by [`parse`](super::parse). Knows nothing of text. Invariant: every step and source leads somewhere, names are
//! found, and no topic feeds itself.

use super::fields::{Mistakes, suggest};
use super::outputs::Output;
use super::sources::Source;
use super::steps::{Step, Work};
use super::tree::At;
use crate::graph::{DeadLetters, OutputTopic, Reading, Stage, Topology};
use crate::operators::{Copy, Node};
use crate::windows::Group;
use std::collections::BTreeSet;
use std::sync::Arc;

pub(super) struct Draft {
    pub app: String,
    pub sources: Vec<Source>,
    pub steps: Vec<Step>,
    pub outputs: Vec<Output>,
    pub dead_letters: DeadLetters,
}

impl Draft {
    /// `None` if there are mistakes.
    pub fn build(mut self, mistakes: &mut Mistakes) -> Option<Topology> {
        self.check_names(mistakes);
        self.check_ends(mistakes);
        self.check_topics(mistakes);
        if !mistakes.is_empty() {
            return None;
        }
        let mut steps: Vec<Option<Step>> = self.steps.drain(..).map(Some).collect();
        let mut stages = Vec::new();
        let mut outputs = Vec::new();
        for source in &self.sources {
            let mut work =
                Building { steps: &mut steps, outputs: &self.outputs, groups: Vec::new(), written: Vec::new() };
            let root = work.node(&source.name, Vec::new(), mistakes);
            let (groups, written) = (work.groups, work.written);
            let input: Arc<str> = source.topic.as_str().into();
            outputs.extend(written.into_iter().map(|(topic, copy)| OutputTopic {
                partitions: self.outputs.iter().find(|o| *o.topic == *topic).and_then(|o| o.partitions),
                name: topic,
                input: input.clone(),
                copy,
            }));
            stages.push(Arc::new(self.stage(source, root, groups)));
        }
        let topology = Topology { app: self.app, stages, outputs, dead_letters: self.dead_letters };
        mistakes.is_empty().then_some(topology)
    }

    fn stage(&self, source: &Source, root: Node, groups: Vec<Group>) -> Stage {
        let mut asked = !groups.is_empty();
        root.walk(&mut |node| {
            let paths = node.operators.iter().flat_map(|o| o.paths());
            asked |= paths.into_iter().any(is_key);
        });
        asked |= source.time.as_deref().is_some_and(is_key);
        let changelog = format!("{}-{}-{}-changelog", self.app, source.name, source.topic);
        Stage {
            name: source.name.as_str().into(),
            topic: source.topic.as_str().into(),
            start: source.start,
            changelog: (!groups.is_empty()).then(|| changelog.into()),
            dead_letters: self.dead_letters.clone(),
            max_record: source.max_record,
            reading: Reading {
                key_format: source.key_format,
                format: source.format,
                time: source.time.clone(),
                key_needed: asked,
            },
            root,
            groups,
        }
    }

    fn check_names(&self, mistakes: &mut Mistakes) {
        let mut seen = BTreeSet::new();
        let names = self.sources.iter().map(|s| (s.at, &s.name)).chain(self.steps.iter().map(|s| (s.at, &s.name)));
        for (at, name) in names {
            if !seen.insert(name.as_str()) {
                mistakes.add(at, format!("'{name}' is a source and a step; name one of them otherwise"));
            }
        }
        for step in &self.steps {
            self.check_from((step.from_at, &step.from), &format!("step '{}'", step.name), &seen, mistakes);
            if self.steps.iter().any(|s| s.name == step.from && matches!(s.work, Work::Group { .. })) {
                let text = format!(
                    "step '{}' reads the grouping '{}'; give that an output, and a source that reads its topic",
                    step.name, step.from
                );
                mistakes.add(step.from_at, text);
            }
        }
        for output in &self.outputs {
            self.check_from((output.from_at, &output.from), &format!("output '{}'", output.topic), &seen, mistakes);
        }
    }

    fn check_from(&self, (at, from): (At, &str), place: &str, names: &BTreeSet<&str>, mistakes: &mut Mistakes) {
        if !names.contains(from) {
            let hint = suggest(from, names.iter().copied());
            let hint = hint.unwrap_or_else(|| "; name a source or a step".to_owned());
            mistakes.add(at, format!("{place} is from '{from}', which there is not{hint}"));
        }
    }

    /// Steps in a ring, and what nobody reads.
    fn check_ends(&self, mistakes: &mut Mistakes) {
        for step in &self.steps {
            let mut at = step;
            let mut hops = 0;
            while let Some(next) = self.steps.iter().find(|s| s.name == at.from) {
                (at, hops) = (next, hops + 1);
                if hops > self.steps.len() {
                    mistakes.add(step.at, format!("step '{}' comes from itself; begin at a source", step.name));
                    break;
                }
            }
        }
        let read =
            |name: &str| self.steps.iter().any(|s| s.from == name) || self.outputs.iter().any(|o| o.from == name);
        for source in self.sources.iter().filter(|s| !read(&s.name)) {
            mistakes.add(source.at, format!("source '{}' leads nowhere; add a step or an output from it", source.name));
        }
        for step in self.steps.iter().filter(|s| !read(&s.name)) {
            mistakes.add(step.at, format!("step '{}' leads nowhere; add an output from it", step.name));
        }
    }

    /// A topic that is written must not, over any number of stages, be read by what writes it.
    fn check_topics(&self, mistakes: &mut Mistakes) {
        for output in &self.outputs {
            if *output.topic == *self.dead_letters.topic {
                mistakes
                    .add(output.at, format!("output '{}' is the topic of dead letters; name another", output.topic));
            }
            let mut reached = BTreeSet::from([output.topic.as_str()]);
            loop {
                let more: Vec<&str> = self
                    .outputs
                    .iter()
                    .filter(|o| {
                        self.input_of(&o.from).is_some_and(|t| reached.contains(t)) && !reached.contains(&*o.topic)
                    })
                    .map(|o| o.topic.as_str())
                    .collect();
                if more.is_empty() {
                    break;
                }
                reached.extend(more);
            }
            if self.input_of(&output.from).is_some_and(|topic| reached.contains(topic)) {
                mistakes.add(
                    output.at,
                    format!("output '{}' feeds the topic that it is made from; name another", output.topic),
                );
            }
        }
        if let Some(source) = self.sources.iter().find(|s| *s.topic == *self.dead_letters.topic) {
            mistakes.add(
                source.at,
                format!("source '{}' reads the application's own dead letters; replay them instead", source.name),
            );
        }
    }

    /// The topic of the source that a step stands behind.
    fn input_of(&self, name: &str) -> Option<&str> {
        let mut name = name;
        for _ in 0..=self.steps.len() {
            if let Some(source) = self.sources.iter().find(|s| s.name == name) {
                return Some(&source.topic);
            }
            name = &self.steps.iter().find(|s| s.name == name)?.from;
        }
        None
    }
}

fn is_key(path: &[Box<str>]) -> bool {
    matches!(path, [record, key, ..] if &**record == "record" && &**key == "key")
}

/// One stage, while its tree grows.
struct Building<'d> {
    steps: &'d mut Vec<Option<Step>>,
    outputs: &'d [Output],
    groups: Vec<Group>,
    /// Topics, and whether they hold copies.
    written: Vec<(Arc<str>, bool)>,
}

impl Building<'_> {
    fn node(&mut self, name: &str, operators: Vec<crate::operators::Operator>, mistakes: &mut Mistakes) -> Node {
        let mut node = Node { name: name.to_owned(), operators, ..Node::default() };
        for output in self.outputs.iter().filter(|o| o.from == name) {
            output.check_copy(mistakes);
            let topic: Arc<str> = output.topic.as_str().into();
            self.written.push((topic.clone(), true));
            node.copies.push(Copy { topic });
        }
        for index in 0..self.steps.len() {
            let Some(step) = self.steps[index].take_if(|s| s.from == name) else { continue };
            match step.work {
                Work::Map(operators) => node.steps.push(self.node(&step.name, operators, mistakes)),
                Work::Group { .. } => {
                    node.groups.push(self.groups.len());
                    self.group(step, mistakes);
                }
            }
        }
        node
    }

    fn group(&mut self, step: Step, mistakes: &mut Mistakes) {
        let Work::Group { window, aggregates, emit } = step.work else { return };
        let mut outputs = Vec::new();
        for output in self.outputs.iter().filter(|o| o.from == step.name) {
            let Some(rows) = output.rows(window.is_some(), &aggregates, mistakes) else { continue };
            self.written.push((rows.topic.clone(), false));
            outputs.push(rows);
        }
        self.groups.push(Group { name: step.name.into(), window, aggregates, emit, outputs });
    }
}
