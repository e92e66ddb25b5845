"""What all trials stand on: one broker, one PostgreSQL where a workload asks for it, a scratch directory, topics that the
generator filled. Called by `__main__` and the workloads. Invariant: all of it ends with this process, however that ends."""
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec
from . import places

QUIET = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"


def java(*args, heap="2g", flags=()):
    """A class of the Kafka Streams folder, with its arguments."""
    path = f"{places.BUILT / 'streams-classes'}:{places.BUILT / 'streams'}/*"
    return ["java", f"-Xmx{heap}", *flags, QUIET, "-cp", path, *args]


class Topic:
    """A filled topic and what must come of it."""

    def __init__(self, name, partitions, oracle):
        self.name, self.partitions, self.oracle = name, partitions, oracle
        self.n = oracle["n"]


class Rig:
    def __init__(self, keep_logs=None, load=True):
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="tidemill-bench-"))
        self.logs = pathlib.Path(keep_logs) if keep_logs else self.scratch / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self.bootstrap = self.admin = self.broker_pid = self.broker_data = None
        self.dsn = self.postgres_pid = None
        self.load = load          # a broker for load, or a small one that starts fast
        self.topics = {}

    def __enter__(self):
        env = self._start("kafka-cluster", self.scratch / "kafka", *(["--load"] if self.load else []))
        self.bootstrap = env["KAFKA_BOOTSTRAP"]
        self.broker_pid = int(env["KAFKA_PIDS"])
        self.broker_data = self.scratch / "kafka" / "n1"
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        return self

    def __exit__(self, *_):
        for script, folder in (("postgres", "postgres"), ("kafka-cluster", "kafka")):
            if (self.scratch / folder).exists():
                subprocess.run([places.STACK / script, "stop", self.scratch / folder], check=False)
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _start(self, script, folder, *options):
        command = [places.STACK / script, "start", folder, *options, "--watch", str(os.getpid())]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)

    def postgres(self):
        """Starts PostgreSQL at the first call."""
        if not self.dsn:
            env = self._start("postgres", self.scratch / "postgres")
            self.dsn = env["DATABASE_URL"]
            data = pathlib.Path(os.readlink(self.scratch / "postgres" / "data")) / "db"
            self.postgres_pid = int((data / "postmaster.pid").read_text().split()[0])
        return self.dsn

    def create(self, name, partitions):
        self.admin.create_topics([NewTopic(name, partitions, 1)])[name].result()

    def fill(self, name, n, partitions=4, **options):
        """A topic of n events and its oracle, made once: options are the generator's."""
        if name not in self.topics:
            oracle = self.scratch / f"{name}.json"
            flags = [x for k, v in options.items() for x in ("--" + k.replace("_", "-"), str(v))]
            command = java("peers.Gen", "--bootstrap", self.bootstrap, "--topic", name, "--n", str(n),
                           "--partitions", str(partitions), "--oracle", str(oracle), *flags)
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            self.topics[name] = Topic(name, partitions, json.loads(oracle.read_text()))
        return self.topics[name]

    def drop(self, topic):
        self.topics.pop(topic.name, None)
        self.delete([topic.name])

    def delete(self, names):
        for future in self.admin.delete_topics(list(names)).values():
            with contextlib.suppress(Exception):
                future.result()

    def partitions(self, topic):
        return len(self.admin.list_topics(topic, timeout=10).topics[topic].partitions)

    def ends(self, parts):
        """End offsets of (topic, partition) pairs."""
        asked = {TopicPartition(t, p): OffsetSpec.latest() for t, p in parts}
        return {(p.topic, p.partition): f.result().offset for p, f in self.admin.list_offsets(asked).items()}

    def log_bytes(self, match):
        """Bytes in the broker's log of the topics whose partition folders match."""
        folders = (d for d in self.broker_data.iterdir() if d.is_dir() and match(d.name))
        return sum(f.stat().st_size for d in folders for f in d.glob("*.log"))
