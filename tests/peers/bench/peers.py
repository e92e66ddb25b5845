"""Who is measured, and how each is started. Called by the workloads. `{group}`, `{topic}`, `{out}`, `{state}`, `{bootstrap}`
and `{dsn}` stand for the trial's own. Invariant: a peer consumes under `{group}` and commits its offsets to it."""
import dataclasses
import sys
from . import places, rig

TIDEMILL = "tidemill"
# Words that leave no doubt about what was done, and in what order the table has them.
TITLES = {
    TIDEMILL: "Tidemill",
    "ks-dsl": "Kafka Streams, DSL of the first day",
    "ks-expert": "Kafka Streams, expert, RocksDB",
    "ks-expert-memory": "Kafka Streams, expert, in memory",
    "ks-pass": "Kafka Streams, pass-through",
    "flink-rocksdb": "Flink, RocksDB",
    "flink-heap": "Flink, heap",
    "quix": "Quix Streams, exactly once",
    "python": "Python, not exactly once",
    "seed": "Python, each row by itself",
    "drain-c": "C loop that only reads",
}


@dataclasses.dataclass
class Peer:
    name: str
    command: list
    env: dict = dataclasses.field(default_factory=dict)
    before: list = None          # runs to its end before the clock starts
    settle: float = 1.5          # seconds until all that was committed can be read
    rows: str = "topic"          # where its results are: topic, postgres, none
    extra: str = None            # a second topic that somebody has to make for it
    note: dict = dataclasses.field(default_factory=dict)

    @property
    def title(self):
        return TITLES[self.name]


def tidemill(topology="w1", rows="topic", **settings):
    """The product with a topology of ours; settings become the variables that it reads."""
    file, program = str(places.TOPOLOGIES / f"{topology}.yaml"), str(places.program())
    env = {"KAFKA_BOOTSTRAP_SERVERS": "{bootstrap}", "APP": "{group}", "IN": "{topic}", "OUT": "{out}", "STATE": "{state}"}
    env.update({k.upper(): str(v) for k, v in settings.items()})
    return Peer(TIDEMILL, [program, "run", file, "--instance", "bench"], env, [program, "topics", "create", file],
                rows=rows, note={k: str(v) for k, v in settings.items()})


def tidemill_by_partition(**settings):
    """The same as the expert in Kafka Streams does it: rows of each partition, which whoever reads them adds up."""
    found = tidemill("w1-partition", **settings)
    return dataclasses.replace(found, note={**found.note, "rows": "by partition"})


def _streams(name, *options, flags=(), **note):
    command = rig.java("peers.StreamsApp", "--bootstrap", "{bootstrap}", "--app", "{group}", "--in", "{topic}", "--out", "{out}",
                       "--state", "{state}", *options, flags=flags)
    return Peer(name, command, rows="topic", note=note)


def ks_dsl(*options, commit=100):
    return _streams("ks-dsl", "--mode", "default", "--commit", str(commit), *options, commit=f"{commit}ms")


def ks_expert(*options, commit=100):
    return _streams("ks-expert", "--mode", "tuned", "--commit", str(commit), *options, flags=("-XX:+UseParallelGC",), commit=f"{commit}ms")


def ks_expert_memory(*options, commit=100):
    found = ks_expert("--memory", "1", *options, commit=commit)
    return dataclasses.replace(found, name="ks-expert-memory")


def ks_expert_rich():
    return dataclasses.replace(ks_expert("--rich", "{out}-rich"), extra="{out}-rich")


def ks_pass(commit=100):
    return _streams("ks-pass", "--mode", "pass", "--commit", str(commit), commit=f"{commit}ms")


def _flink(name, backend, checkpoint=1000):
    path = f"{places.BUILT / 'flink-classes'}:{places.BUILT / 'flink'}/*"
    opens = ("--add-opens=java.base/java.util=ALL-UNNAMED", "--add-opens=java.base/java.lang=ALL-UNNAMED")
    command = ["java", "-Xmx2g", *opens, rig.QUIET, "-cp", path, "peers.FlinkW1", "{bootstrap}", "{topic}", "{out}", "{group}", "{state}",
               backend, str(checkpoint), "1"]
    return Peer(name, command, settle=4, note={"commit": f"{checkpoint}ms"})


def flink_heap():
    return _flink("flink-heap", "hashmap")


def flink_rocksdb():
    return _flink("flink-rocksdb", "rocksdb")


def quix():
    command = [str(places.BUILT / "quix" / "bin" / "python"), str(places.PEERS / "python" / "quix_w1.py"), "{bootstrap}", "{topic}", "{out}",
               "{group}", "{state}"]
    return Peer("quix", command, settle=4, note={"commit": "1s"})


def python(raw="none"):
    command = [sys.executable, str(places.PEERS / "python" / "seed_pipeline.py"), "{bootstrap}", "{topic}",
               "{group}", "{dsn}", "--raw", raw]
    return Peer("python" if raw == "none" else "seed", command, rows="postgres", note={"commit": "1s"})


def drain_c():
    return Peer("drain-c", [str(places.BUILT / "drain"), "{bootstrap}", "{topic}"], rows="none")
