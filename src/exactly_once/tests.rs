//! The decision tables, row by row: given, when, then.
//!
//! Knows no driver: a test answers the questions itself. Called by cargo.
//! Invariant: every row of RECOVER's steps 5 and 7 and every outcome of a cycle stands here once.

use super::*;
use std::sync::Arc;
use std::time::Duration;
use tidemill_state::{Changes, Meta};
use tidemill_topology::{Checkpoint, Counts, Outputs, Position, Sealed, Start, TaskId};

const NOW: i64 = 1_000_000_000;
const RETENTION: i64 = 86_400_000;
const STORE: u128 = 77;

fn task(partition: i32) -> TaskId {
    TaskId { stage: "s".into(), topic: "t".into(), partition }
}

fn checkpoint(offset: i64) -> Checkpoint {
    Checkpoint {
        task: task(0).to_string(),
        store: STORE,
        sequence: 3,
        positions: vec![Position { topic: "t".into(), partition: 0, offset }],
        partitions: 4,
        counts: Counts::default(),
        stream_time: 0,
        states: vec![],
        upstream: vec![],
    }
}

fn meta(checkpoint: &Checkpoint, position: i64) -> Meta {
    Meta { checkpoint: checkpoint.encode(), position, append_time: NOW - 1_000 }
}

fn facts() -> Facts {
    Facts {
        name: task(0).to_string(),
        task: task(0),
        partitions: 4,
        start: Start::Earliest,
        stateful: true,
        delete_retention_ms: RETENTION,
        now: NOW,
        new_store: 99,
    }
}

/// A recovery whose committed offset and changelog (10 to 100) have been read, about to hear of its store.
fn at_its_store(facts: Facts, offset: Option<i64>) -> Recovery {
    let mut r = Recovery::new(facts, Protections::all());
    assert_eq!(r.begin(), Action::CommittedOffset);
    assert_eq!(r.answer(Answer::Offset(offset)), Action::ChangelogEnds);
    assert_eq!(r.answer(Answer::Ends { start: 10, end: 100 }), Action::LastStableOffset);
    assert_eq!(r.answer(Answer::StableEnd(100)), Action::OpenStore);
    r
}

/// One whose log has been read, with this last checkpoint.
fn rolled(offset: Option<i64>, found: Option<Checkpoint>) -> (Recovery, Action) {
    rolled_with(facts(), offset, found)
}

fn rolled_with(facts: Facts, offset: Option<i64>, found: Option<Checkpoint>) -> (Recovery, Action) {
    let mut r = at_its_store(facts, offset);
    r.answer(Answer::NoStore);
    let action = r.answer(Answer::Rolled { checkpoint: found, records: 5 });
    (r, action)
}

fn halt(action: Action) -> Halt {
    let Action::Halt(halt) = action else { panic!("{action:?} is no halt") };
    assert_eq!(halt.cause.lines().count(), 1, "one line: {}", halt.cause);
    assert!(halt.cause.starts_with("task s/t/0: "), "it says where: {}", halt.cause);
    assert!(halt.cause.contains(';'), "it says what to do: {}", halt.cause);
    halt
}

fn from(action: &Action) -> (i64, i64, bool) {
    let Action::RollForward { from, end, rebuild } = action else { panic!("{action:?} reads nothing") };
    (*from, *end, *rebuild)
}

fn ready(action: Action) -> Ready {
    let Action::Ready(ready) = action else { panic!("{action:?} is not ready") };
    ready
}

// Steps 2 to 4.

#[test]
fn pending_offsets_are_waited_for_and_asked_again() {
    let mut r = Recovery::new(facts(), Protections::all());
    r.begin();
    assert!(matches!(r.answer(Answer::OffsetPending), Action::Wait(_)));
    assert_eq!(r.answer(Answer::Waited), Action::CommittedOffset);
    assert!(matches!(r.answer(Answer::OffsetPending), Action::Wait(_)));
    assert_eq!(r.answer(Answer::Waited), Action::CommittedOffset);
    assert_eq!(r.answer(Answer::Offset(Some(7))), Action::ChangelogEnds);
}

#[test]
fn nothing_is_opened_before_the_last_stable_offset_is_at_the_end() {
    let mut r = Recovery::new(facts(), Protections::all());
    r.begin();
    r.answer(Answer::Offset(Some(7)));
    r.answer(Answer::Ends { start: 0, end: 100 });
    assert!(matches!(r.answer(Answer::StableEnd(99)), Action::Wait(_)));
    assert_eq!(r.answer(Answer::Waited), Action::LastStableOffset);
    assert_eq!(r.answer(Answer::StableEnd(103)), Action::OpenStore);
}

#[test]
fn a_stage_without_state_has_its_committed_offset_and_nothing_else() {
    let mut r = Recovery::new(Facts { stateful: false, ..facts() }, Protections::all());
    r.begin();
    assert_eq!(ready(r.answer(Answer::Offset(Some(7)))).position, 7);

    let mut first = Recovery::new(Facts { stateful: false, ..facts() }, Protections::all());
    first.begin();
    assert_eq!(first.answer(Answer::Offset(None)), Action::InputStart(Start::Earliest));
    assert_eq!(ready(first.answer(Answer::Offset(Some(3)))).position, 3);
}

// Step 5.

#[test]
fn a_good_store_is_rolled_forward_from_its_position_to_the_end() {
    let mut r = at_its_store(facts(), Some(7));
    let action = r.answer(Answer::Store(Some(meta(&checkpoint(5), 60))));
    assert_eq!(from(&action), (60, 100, false));
    let ready = ready(r.answer(Answer::Rolled { checkpoint: Some(checkpoint(7)), records: 4 }));
    assert_eq!((ready.position, ready.store, ready.why, ready.records), (7, STORE, Why::Restored, 4));
}

#[test]
fn a_store_that_is_at_the_end_already_is_good_with_its_own_checkpoint() {
    let mut r = at_its_store(facts(), Some(5));
    assert_eq!(from(&r.answer(Answer::Store(Some(meta(&checkpoint(5), 100))))), (100, 100, false));
    let ready = ready(r.answer(Answer::Rolled { checkpoint: None, records: 0 }));
    assert_eq!((ready.position, ready.checkpoint), (5, Some(checkpoint(5))));
}

#[test]
fn a_store_that_cannot_be_used_is_rebuilt_from_the_first_record() {
    let old = Meta { append_time: NOW - RETENTION / 2 - 1, ..meta(&checkpoint(5), 60) };
    let rows = [
        (Answer::NoStore, Why::FirstTimeHere),
        (Answer::Store(None), Why::FirstTimeHere),
        (Answer::Corrupt("bad block".into()), Why::Rebuilt(String::new())),
        (Answer::Store(Some(meta(&checkpoint(5), 9))), Why::Rebuilt(String::new())),
        (Answer::Store(Some(old)), Why::Rebuilt(String::new())),
    ];
    for (found, why) in rows {
        let mut r = at_its_store(facts(), Some(7));
        assert_eq!(from(&r.answer(found.clone())), (10, 100, true), "{found:?}");
        let ready = ready(r.answer(Answer::Rolled { checkpoint: Some(checkpoint(7)), records: 9 }));
        assert_eq!(std::mem::discriminant(&ready.why), std::mem::discriminant(&why), "{found:?}");
        assert_eq!(ready.position, 7);
    }
}

#[test]
fn a_store_of_exactly_half_the_retention_is_still_good() {
    let meta = Meta { append_time: NOW - RETENTION / 2, ..meta(&checkpoint(5), 60) };
    let mut r = at_its_store(facts(), Some(7));
    assert_eq!(from(&r.answer(Answer::Store(Some(meta)))), (60, 100, false));
}

#[test]
fn a_store_past_the_end_halts() {
    let mut r = at_its_store(facts(), Some(7));
    let halt = halt(r.answer(Answer::Store(Some(meta(&checkpoint(5), 101)))));
    assert!(halt.cause.contains("101") && !halt.configuration, "{}", halt.cause);
}

#[test]
fn another_store_id_halts() {
    let mut r = at_its_store(facts(), Some(7));
    r.answer(Answer::Store(Some(meta(&checkpoint(5), 60))));
    let other = Checkpoint { store: STORE + 1, ..checkpoint(7) };
    assert!(!halt(r.answer(Answer::Rolled { checkpoint: Some(other), records: 1 })).configuration);
}

#[test]
fn a_changed_partition_count_halts_as_configuration_in_the_store_and_in_the_log() {
    let was = Checkpoint { partitions: 3, ..checkpoint(7) };
    let mut r = at_its_store(facts(), Some(7));
    assert!(halt(r.answer(Answer::Store(Some(meta(&was, 60))))).configuration);
    let (_, action) = rolled(Some(7), Some(was));
    assert!(halt(action).configuration);
}

#[test]
fn the_state_of_another_task_halts() {
    let other = Checkpoint { task: "s/t/1".into(), ..checkpoint(7) };
    let mut r = at_its_store(facts(), Some(7));
    assert!(halt(r.answer(Answer::Store(Some(meta(&other, 60))))).cause.contains("s/t/1"));
}

#[test]
fn a_checkpoint_that_cannot_be_read_halts() {
    let mut r = at_its_store(facts(), Some(7));
    let meta = Meta { checkpoint: vec![255, 1, 2], ..meta(&checkpoint(7), 60) };
    halt(r.answer(Answer::Store(Some(meta))));
}

// Step 7.

#[test]
fn equal_positions_are_ready_at_the_first_look() {
    let (_, action) = rolled(Some(7), Some(checkpoint(7)));
    assert_eq!(ready(action).position, 7);
}

#[test]
fn positions_that_differ_are_looked_at_twice_and_halt() {
    let (mut r, action) = rolled(Some(7), Some(checkpoint(8)));
    assert_eq!(action, Action::CommittedOffset);
    let halt = halt(r.answer(Answer::Offset(Some(7))));
    assert!(halt.cause.contains('7') && halt.cause.contains('8') && !halt.configuration);
}

#[test]
fn offsets_that_moved_since_the_first_look_begin_again_at_step_2() {
    let (mut r, _) = rolled(Some(7), Some(checkpoint(8)));
    assert_eq!(r.answer(Answer::Offset(Some(8))), Action::CommittedOffset);
    assert_eq!(r.answer(Answer::Offset(Some(8))), Action::ChangelogEnds);
}

#[test]
fn the_second_look_waits_for_pending_offsets_too() {
    let (mut r, _) = rolled(Some(7), Some(checkpoint(8)));
    assert!(matches!(r.answer(Answer::OffsetPending), Action::Wait(_)));
    assert_eq!(r.answer(Answer::Waited), Action::CommittedOffset);
    halt(r.answer(Answer::Offset(Some(7))));
}

#[test]
fn neither_checkpoint_nor_offset_is_a_first_start_after_the_second_look() {
    for start in [Start::Earliest, Start::Latest, Start::Committed] {
        let (mut r, action) = rolled_with(Facts { start, ..facts() }, None, None);
        assert_eq!(action, Action::CommittedOffset);
        assert_eq!(r.answer(Answer::Offset(None)), Action::InputStart(start));
        let ready = ready(r.answer(Answer::Offset(Some(3))));
        assert_eq!((ready.position, ready.checkpoint, ready.store), (3, None, 99));
        assert_eq!(ready.why, Why::FirstStart);
    }
}

#[test]
fn a_first_start_that_loses_its_task_begins_again() {
    let (mut r, _) = rolled(None, None);
    assert_eq!(r.answer(Answer::Offset(Some(4))), Action::CommittedOffset);
    assert_eq!(r.answer(Answer::Offset(Some(4))), Action::ChangelogEnds);
}

#[test]
fn a_checkpoint_without_offsets_means_that_they_expired() {
    let (mut r, action) = rolled(None, Some(checkpoint(8)));
    assert_eq!(action, Action::CommittedOffset);
    assert_eq!(ready(r.answer(Answer::Offset(None))).position, 8);
}

#[test]
fn offsets_without_a_checkpoint_halt_unless_another_programs_are_adopted() {
    let (mut r, action) = rolled(Some(7), None);
    assert_eq!(action, Action::CommittedOffset);
    assert!(halt(r.answer(Answer::Offset(Some(7)))).cause.contains("start: committed"));

    let (mut adopts, _) = rolled_with(Facts { start: Start::Committed, ..facts() }, Some(7), None);
    let ready = ready(adopts.answer(Answer::Offset(Some(7))));
    assert_eq!((ready.position, ready.checkpoint, ready.why), (7, None, Why::FirstStart));
}

#[test]
#[should_panic(expected = "recovery of s/t/0")]
fn an_answer_to_no_question_is_a_defect() {
    let mut r = Recovery::new(facts(), Protections::all());
    r.begin();
    r.answer(Answer::StableEnd(3));
}

// The cycle.

fn sealed(partition: i32, assignment: u64) -> Sealed {
    Sealed {
        task: task(partition),
        assignment,
        sequence: 1,
        outputs: Outputs::default(),
        changes: Changes::new(),
        checkpoint: checkpoint(9),
        changelog: None,
        traces: Vec::new(),
    }
}

fn snapshot(version: u64, owned: &[(i32, u64)]) -> Arc<Assignment> {
    let member = Member::Of { generation: version as i32, metadata: Arc::new(()) };
    Arc::new(Assignment { version, owned: owned.iter().map(|(p, n)| (task(*p), *n)).collect(), member })
}

fn cycle() -> Cycle {
    Cycle::new(snapshot(7, &[(0, 1), (1, 2)]), vec![sealed(0, 1), sealed(1, 2)], Protections::all())
}

fn trouble() -> Outcome {
    Outcome::Aborted(Refusal::Trouble("t".into()))
}

#[test]
fn every_outcome_has_one_step() {
    let landed = vec![Landed { position: 4, append_time: 5 }; 2];
    let moved = Outcome::Aborted(Refusal::GroupMoved("g".into()));
    let exit = |configuration| Step::Exit { cause: "c".into(), configuration };
    let rows = [
        (Outcome::Committed(landed.clone()), Step::Apply(landed)),
        (moved, Step::Await { newer_than: 7 }),
        (trouble(), Step::Backoff(Duration::from_millis(10))),
        (Outcome::Unknown("u".into()), Step::Recover("u".into())),
        (Outcome::Fenced("c".into()), exit(false)),
        (Outcome::Fatal("c".into()), exit(true)),
    ];
    for (outcome, step) in rows {
        assert_eq!(cycle().outcome(outcome.clone()), step, "{outcome:?}");
    }
}

#[test]
fn it_waits_longer_after_each_trouble_and_never_above_a_second() {
    let mut c = cycle();
    let waits: Vec<_> = (0..10).map(|_| c.outcome(trouble())).collect();
    assert_eq!(waits[0], Step::Backoff(Duration::from_millis(10)));
    assert_eq!(waits[3], Step::Backoff(Duration::from_millis(80)));
    assert_eq!(waits[9], Step::Backoff(Duration::from_secs(1)));
}

#[test]
fn the_same_values_go_again_under_the_newest_snapshot() {
    let mut c = cycle();
    assert_eq!(c.send_again(snapshot(9, &[(0, 1), (1, 2)])), Step::Send);
    assert_eq!((c.sealed().len(), c.left_out(), c.assignment().version), (2, &[][..], 9));
    let moved = Outcome::Aborted(Refusal::GroupMoved("g".into()));
    assert_eq!(c.outcome(moved), Step::Await { newer_than: 9 }, "newer than the one that was used");
}

#[test]
fn what_is_lost_or_came_back_under_another_number_is_left_out() {
    let mut lost = cycle();
    assert_eq!(lost.send_again(snapshot(8, &[(1, 2)])), Step::Send);
    assert_eq!((lost.sealed()[0].task.clone(), lost.left_out()), (task(1), &[task(0)][..]));

    let mut back = cycle();
    assert_eq!(back.send_again(snapshot(8, &[(0, 3), (1, 2)])), Step::Send);
    assert_eq!(back.left_out(), [task(0)]);
    assert_eq!(back.send_again(snapshot(9, &[(0, 1), (1, 2)])), Step::Send);
    assert_eq!(back.sealed().len(), 1, "values once left out are never sent");
}

#[test]
fn nothing_left_is_done_and_a_snapshot_without_a_member_leaves_nothing() {
    assert_eq!(cycle().send_again(snapshot(8, &[])), Step::Done);
    let nobody = Assignment { member: Member::Nobody, ..(*snapshot(8, &[(0, 1), (1, 2)])).clone() };
    assert_eq!(cycle().send_again(Arc::new(nobody)), Step::Done);
}
