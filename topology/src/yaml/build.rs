//! From sources, steps and outputs as written to the compiled graph.
//!
//! Called by [`parse`](super::parse). Knows nothing of text. Invariant: every step and source leads somewhere, names are
//! found, and no topic feeds itself.

use super::fields::{Mistakes, suggest};
use super::outputs::Output;
use super::sources::Source;
use super::steps::{Grouping, Step, Work};
use super::tree::At;
use crate::event_time::EventTime;
use crate::expr::Path;
use crate::formats::Format;
use crate::formats::scan::Wanted;
use crate::graph::{DeadLetters, Input, OutputTopic, Reading, Repartition, Stage, Start, Topology};
use crate::operators::{Dedupe, Node, Operator};
use crate::windows::{Emit, Group, Hop, Target};
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
        let (mut stages, mut outputs, mut repartitions) = (Vec::new(), Vec::new(), Vec::new());
        for source in &self.sources {
            let mut work = Building::new(&self.app, source, (&mut steps, &self.outputs));
            let root = work.node(&source.name, Vec::new(), mistakes);
            let grown = work.grown;
            outputs.extend(grown.written.iter().map(|w| self.output(w, &source.topic)));
            for hop in &grown.hops {
                let topic = hop.topic.clone();
                outputs.extend(hop.group.outputs.iter().map(|o| self.output(&(o.topic.clone(), false), &topic)));
                repartitions.push(Repartition { topic, source: source.topic.as_str().into() });
            }
            let behind: Vec<Stage> = grown.hops.iter().map(|hop| self.behind(source, hop)).collect();
            stages.push(Arc::new(self.stage(source, root, grown)));
            stages.extend(behind.into_iter().map(Arc::new));
        }
        self.check_stages(&stages, mistakes);
        let topology = Topology { app: self.app, stages, outputs, repartitions, dead_letters: self.dead_letters };
        mistakes.is_empty().then_some(topology)
    }

    fn output(&self, (topic, copy): &(Arc<str>, bool), input: &str) -> OutputTopic {
        let partitions = self.outputs.iter().find(|o| *o.topic == **topic).and_then(|o| o.partitions);
        OutputTopic { name: topic.clone(), partitions, input: input.into(), copy: *copy }
    }

    fn stage(&self, source: &Source, root: Node, grown: Grown) -> Stage {
        let Grown { groups, hops, dedupes, .. } = grown;
        let groupings = || groups.iter().chain(hops.iter().map(|h| &h.group));
        let mut paths: Vec<&Path> = Vec::new();
        let mut whole = source.format != Format::Json;
        root.walk(&mut |node| {
            paths.extend(node.operators.iter().flat_map(|o| o.paths()));
            paths.extend(node.copies.iter().filter_map(|c| c.key.as_ref()).map(|(path, _)| path));
            whole |= node.operators.iter().any(|o| o.needs_whole()) || node.copies.iter().any(|c| c.fields.is_some());
        });
        for group in groupings() {
            paths.extend(group.aggregates.iter().filter_map(|a| a.function.path()).chain(group.by.paths()));
        }
        if let Some(EventTime::Field(field)) = &source.time {
            paths.push(&field.path);
        }
        let around = |wanted: &str| paths.iter().any(|path| path.around().is_some_and(|(name, _)| name == wanted));
        let asked = around("key") || groupings().any(|g| g.by.has_record_key());
        whole |= around("value");
        let fields = paths.into_iter().filter(|path| path.around().is_none());
        let wanted = if whole { None } else { Wanted::new(fields) };
        let stateful = groupings().next().is_some() || !dedupes.is_empty();
        let changelog = format!("{}-{}-{}-changelog", self.app, source.name, source.topic);
        let reading = Reading {
            key_format: source.key_format,
            format: source.format,
            time: source.time.clone(),
            max_ahead: source.max_ahead,
            key_needed: asked,
            wanted,
            idle: source.idle,
        };
        Stage {
            name: source.name.as_str().into(),
            topic: source.topic.as_str().into(),
            start: source.start,
            changelog: stateful.then(|| changelog.into()),
            dead_letters: self.dead_letters.clone(),
            max_record: source.max_record,
            input: Input::Records(reading),
            root,
            groups,
            hops,
            dedupes,
        }
    }

    /// The stage that takes the partials of one grouping.
    fn behind(&self, source: &Source, hop: &Hop) -> Stage {
        Stage {
            name: hop.group.name.clone(),
            topic: hop.topic.clone(),
            start: Start::Earliest,
            changelog: Some(format!("{}-{}-changelog", self.app, hop.group.name).into()),
            dead_letters: self.dead_letters.clone(),
            max_record: source.max_record,
            input: Input::Partials,
            root: Node::default(),
            groups: vec![hop.group.clone()],
            hops: Vec::new(),
            dedupes: Vec::new(),
        }
    }

    /// Internal topics and states are named after steps and sources: two of one name would be one.
    fn check_stages(&self, stages: &[Arc<Stage>], mistakes: &mut Mistakes) {
        let at = self.sources.first().map_or(At::default(), |s| s.at);
        let internal = |s: &Arc<Stage>| [s.changelog.clone(), s.takes_partials().then(|| s.topic.clone())];
        let mut taken: Vec<&str> = self.outputs.iter().map(|o| o.topic.as_str()).collect();
        taken.extend(self.sources.iter().map(|s| s.topic.as_str()).chain([&*self.dead_letters.topic]));
        let all: Vec<Arc<str>> = stages.iter().flat_map(internal).flatten().collect();
        for (index, topic) in all.iter().enumerate() {
            if taken.contains(&&**topic) || all[..index].contains(topic) {
                let text = format!("two topics would be called {topic}; name a source, a step or an output otherwise");
                mistakes.add(at, text);
            }
        }
        for stage in stages {
            let mut states = BTreeSet::new();
            for (name, _) in stage.states() {
                if !states.insert(name.clone()) {
                    mistakes.add(
                        at,
                        format!("two states of stage '{}' are called '{name}'; name one otherwise", stage.name),
                    );
                }
            }
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
            if self.steps.iter().any(|s| s.name == step.from && matches!(s.work, Work::Group(_))) {
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

/// One stage, while its tree grows.
struct Building<'d> {
    app: &'d str,
    source: &'d Source,
    steps: &'d mut Vec<Option<Step>>,
    outputs: &'d [Output],
    grown: Grown,
}

#[derive(Default)]
struct Grown {
    groups: Vec<Arc<Group>>,
    hops: Vec<Hop>,
    dedupes: Vec<Arc<Dedupe>>,
    /// Topics, and whether they hold copies.
    written: Vec<(Arc<str>, bool)>,
}

impl<'d> Building<'d> {
    fn new(
        app: &'d str,
        source: &'d Source,
        (steps, outputs): (&'d mut Vec<Option<Step>>, &'d [Output]),
    ) -> Building<'d> {
        Building { app, source, steps, outputs, grown: Grown::default() }
    }

    fn node(&mut self, name: &str, mut operators: Vec<Operator>, mistakes: &mut Mistakes) -> Node {
        operators.iter_mut().for_each(|operator| self.number(name, operator));
        let mut node = Node { name: name.to_owned(), operators, ..Node::default() };
        for output in self.outputs.iter().filter(|o| o.from == name) {
            let Some(copy) = output.copy(self.source.format == Format::Json, mistakes) else { continue };
            self.grown.written.push((copy.topic.clone(), copy.key.is_none()));
            node.copies.push(copy);
        }
        for index in 0..self.steps.len() {
            let Some(step) = self.steps[index].take_if(|s| s.from == name) else { continue };
            let step_at = step.at;
            match step.work {
                Work::Map(operators)
                    if self.source.format != Format::Json && operators.iter().any(|o| o.needs_json()) =>
                {
                    let (step, source) = (&step.name, &self.source.name);
                    let text = format!(
                        "step '{step}' works on fields, which values of source '{source}' lack; they must be json"
                    );
                    mistakes.add(step_at, text);
                }
                Work::Map(operators) => node.steps.push(self.node(&step.name, operators, mistakes)),
                Work::Group(_) => node.groups.extend(self.group(step, mistakes)),
            }
        }
        node
    }

    /// A set gets its number among those of the stage.
    fn number(&mut self, step: &str, operator: &mut Operator) {
        if let Operator::Dedupe { dedupe, set } = operator {
            *set = self.grown.dedupes.len();
            if dedupe.name.is_empty() {
                let named = Dedupe { name: format!("{step}/seen").into(), ..(**dedupe).clone() };
                *dedupe = Arc::new(named);
            }
            self.grown.dedupes.push(dedupe.clone());
        }
    }

    /// A grouping stays where its records lie if all records of a group lie there.
    fn group(&mut self, step: Step, mistakes: &mut Mistakes) -> Option<Target> {
        let Work::Group(grouping) = step.work else { return None };
        let Grouping { by, window, aggregates, emit, at_most } = grouping;
        let stays = by.has_partition() || by.has_record_key() && !self.source.scattered;
        let emit = match emit {
            // Behind a repartition a record is only seen as part of a partial.
            Emit::Every if !stays => Emit::Coalesced { updates: Some(0), last: false },
            emit => emit,
        };
        let mut outputs = Vec::new();
        for output in self.outputs.iter().filter(|o| o.from == step.name) {
            outputs.extend(output.rows((window.is_some(), &by), &aggregates, mistakes));
        }
        if stays {
            self.grown.written.extend(outputs.iter().map(|o| (o.topic.clone(), false)));
        }
        let group = Arc::new(Group { name: step.name.as_str().into(), by, window, aggregates, emit, at_most, outputs });
        if stays {
            self.grown.groups.push(group);
            return Some(Target::Entries(self.grown.groups.len() - 1));
        }
        let topic = format!("{}-{}-repartition", self.app, step.name).into();
        self.grown.hops.push(Hop { group, topic });
        Some(Target::Partials(self.grown.hops.len() - 1))
    }
}
