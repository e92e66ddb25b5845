"""State by record key: a count and a sum for each of many keys, all of them touched once before the clock starts."""
import json
import zlib
from .. import check, peers, places
from ..trial import bytes_below, race
from .drains import rounds

# Small events, so that the state is what costs.
EVENTS = {"dup": 0, "invalid": 0, "shape": "compact", "fill": 1}


def entries(trial):
    """The stores' entries against the generator's checksums: how many keys, how many records, of which keys, what sum."""
    text = trial._run([str(places.program()), "state", "dump", str(places.TOPOLOGIES / "w4.yaml"), "-o", "json"])
    keys = records = marks = 0
    total = 0.0
    for line in text.splitlines():
        entry = json.loads(line)
        if entry.get("state") != "running":
            continue
        keys += 1
        records += entry["value"]["count"]
        marks = (marks + entry["value"]["count"] * zlib.crc32(entry["key"].encode())) & check.MASK
        total += float(entry["value"]["sum"])
    oracle = trial.topic.oracle
    got = {"keys": [keys], "records": [records], "which": [marks], "sum": [total]}
    want = {"keys": [oracle["distinct"]], "records": [oracle["n"]], "which": [oracle["keys"]], "sum": [oracle["cents"] / 100]}
    return check.differences(got, want)


def work(rig, peer, keys, events, budget=None):
    """`budget`: MiB that the process may hold at its peak; past it the row has no figures."""
    topic = rig.fill(f"keys-{keys}", events, users=keys, **EVENTS)
    sizes = {}
    def compare(trial):
        sizes["state_mb"] = round(bytes_below(trial.state) / 2**20)
        return [*entries(trial), *check.held(trial.rss_mb, budget)]
    row = race(rig, peer, topic, compare, share=keys / topic.n)
    return {**row, "keys": keys, **(sizes if row["correct"] else {})}


def w4(rig, book, options):
    """W4: a running count and sum a key, from 1 000 keys to a million, all in memory"""
    runs = [(peers.tidemill("w4", memory="2GiB"), lambda peer, k=k: work(rig, peer, k, options.events or 1_000_000)) for k in ((10**3, 10**4) if options.brief else (10**3, 10**4, 10**5, 10**6))]
    rounds(book, options, "w4", runs)


def past_memory(rig, book, options):
    """W4 with ten million keys: in memory, and with a budget of a quarter of what they take"""
    keys = 10**5 if options.brief else 10**7
    runs = [(peers.tidemill("w4", memory=m), lambda peer, b=b: work(rig, peer, keys, options.events or 2_000_000, b)) for m, b in (("10GiB", None), ("256MiB", 256))]
    rounds(book, options, "past-memory", runs)
