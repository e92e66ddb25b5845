"""Workloads in which a topic is worked from its first record to its last, as fast as can be."""
import zlib
from .. import check, peers
from ..trial import race, to_its_end

# 1 % duplicates, as producers make them; one in a thousand broken, so that a peer that checks nothing is found out.
EVENTS = {"dup": 1, "invalid": 0.1, "users": 100_000}


def rounds(book, options, workload, runs):
    """Peers in turn, each round from the first: `runs` are pairs of a peer and what races it. Before them the first runs twice on
    nobody's account: in its first half minute a broker's own compiler takes more than its work."""
    for _ in range(0 if options.brief else 2):
        runs[0][1](runs[0][0])
    for round_ in range(1, options.rounds + 1):
        for peer, run in runs:
            if book.wants(peer):
                book.add(workload, round_, run(peer))


def hourly(trial):
    return check.hourly(trial.rows(), trial.topic.oracle)


def w1(rig, book, options):
    """W1, hourly: validate, each id once, per hour and type events, users and the sum of durations; exactly once, 100 ms"""
    topic = rig.fill("w1", options.events or 1_000_000, **EVENTS)
    rig.postgres()
    def run(peer):
        return race(rig, peer, topic, hourly)
    streams = (peers.ks_expert(), peers.ks_expert_memory(), peers.ks_dsl())
    runs = [(p, run) for p in (peers.tidemill("w1"), peers.tidemill_by_partition(), *streams, peers.python())]
    runs.append((peers.drain_c(), lambda peer: to_its_end(rig, peer, topic)))
    if options.heavy:
        runs += [(p, run) for p in (peers.flink_heap(), peers.flink_rocksdb(), peers.quix())]
    rounds(book, options, "w1", runs)


def w0(rig, book, options):
    """W0, pass-through: every record to another topic, exactly once, 100 ms"""
    topic = rig.fill("w0", options.events or 1_000_000, **EVENTS)
    want = _sums(rig, topic.name, topic.partitions)
    def same(trial):
        got = _sums(rig, trial.out, topic.partitions)
        return [f"partition {p}: {got[p]} where {want[p]} is due" for p in want if got[p] != want[p]]
    def run(peer):
        return race(rig, peer, topic, same)
    rounds(book, options, "w0", [(p, run) for p in (peers.tidemill("w0"), peers.ks_pass())])


def _sums(rig, topic, partitions):
    """Records of each partition and a checksum over their keys and values, in order."""
    found = {p: [0, 0] for p in range(partitions)}
    def seen(partition, key, value):
        cell = found[partition]
        cell[0] += 1
        cell[1] = zlib.crc32(value, zlib.crc32(key, cell[1]))
    check.read(rig.bootstrap, topic, partitions, seen)
    return found


def w1e(rig, book, options):
    """W1e: W1, and beside it a copy of each event that counts, enriched by a field"""
    topic = rig.fill("w1e", options.events or 1_000_000, **EVENTS)
    def compare(trial):
        values = []
        check.read(rig.bootstrap, trial.out + "-rich", topic.partitions, lambda _, key, value: values.append(value))
        return hourly(trial) + check.copies(values, topic.oracle, "is_high_value", "high")
    def with_copies(peer):
        return race(rig, peer, topic, compare)
    runs = [(peers.tidemill("w1e"), with_copies), (peers.ks_expert_rich(), with_copies)]
    without = peers.tidemill("w1", also="without the copies")
    rounds(book, options, "w1e", [*runs, (without, lambda peer: race(rig, peer, topic, hourly))])


def hopping(rig, book, options):
    """A window of an hour that hops by 10 s, 1 s, 60 s: 360, 3 600 and 60 windows hold each event; the start counts too"""
    topic = rig.fill("hopping", options.events or 1_000_000, seconds=1, **EVENTS)
    runs = []
    for every in (10, 1, 60):
        def compare(trial, every=every):
            return check.hopping(trial.rows(), topic.oracle, every)
        runs.append((peers.tidemill("hopping", every=f"{every}s"), lambda peer, compare=compare: race(rig, peer, topic, compare, share=None)))
    rounds(book, options, "hopping", runs)


def partitions(rig, book, options):
    """W1 over 1, 4, 16 and 64 partitions; so many events that what a partition costs once, at its broker, lies in the first half"""
    runs = []
    for count in (4, 64) if options.brief else (4, 1, 16, 64):
        topic = rig.fill(f"w1-{count}", options.events or 8_000_000, partitions=count, **EVENTS)
        def run(peer, topic=topic):
            return {**race(rig, peer, topic, hourly), "partitions": topic.partitions}
        runs.append((peers.tidemill("w1"), run))
    rounds(book, options, "partitions", runs)


def commits(rig, book, options):
    """W1 with commits every 1 s, 100 ms, 20 ms: what a short interval costs"""
    topic = rig.fill("w1", options.events or 2_000_000, **EVENTS)
    def run(peer):
        return race(rig, peer, topic, hourly)
    runs = [(peers.tidemill("w1", commit=c), run) for c in ("1s", "100ms", "20ms")]
    rounds(book, options, "commits", runs + [(peers.ks_expert(commit=c), run) for c in (1000, 20)] if options.heavy else runs)
