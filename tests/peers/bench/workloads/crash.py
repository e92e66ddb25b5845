"""`kill -9` under a steady load, started again at once: how long until the group's offsets move."""
import statistics
import subprocess
import time
from .. import check, peers, processes
from ..rig import java
from ..trial import Failed, Trial
from .drains import EVENTS
from .live import FIRST, HOUR, RATE

KILLS, THEIR_KILLS = 20, 2        # theirs take 45 s each


def _kill(trial):
    """Seconds from the kill until all that the input held by then is committed: what the killed one had asked for does not count."""
    trial.child.kill()
    began = time.monotonic()
    trial.child.wait()
    trial.start()
    total = _input(trial)
    while trial.read() < total:
        if time.monotonic() - began > 120:
            raise Failed(f"{trial.peer.name}: no commit for 120 s after a kill")
        if trial.child.poll() is not None:
            raise Failed(f"{trial.peer.name} did not come back: {trial.last_words()}")
        time.sleep(0.003)
    return time.monotonic() - began


def _input(trial):
    return sum(trial.rig.ends([(trial.topic.name, p) for p in range(trial.topic.partitions)]).values())


def _kills(rig, peer, count):
    topic = rig.fill(f"crash-{int(time.time() * 1000)}", FIRST, **EVENTS)
    head = {"peer": peer.name, **peer.note, "load": processes.load()}
    try:
        with Trial(rig, peer, topic) as trial:
            trial.start()
            trial.watch(topic.n)
            feed = java("peers.Latency", "--bootstrap", rig.bootstrap, "--in", topic.name, "--out", trial.out, "--rate", str(RATE),
                        "--seconds", "1800", "--start", HOUR, heap="512m")
            with subprocess.Popen(feed, stdout=subprocess.DEVNULL) as meter:
                took = []
                try:
                    for _ in range(count):
                        _worked(trial)
                        took.append(_kill(trial))
                    time.sleep(2)
                finally:
                    meter.kill()
            trial.watch(_input(trial))
            time.sleep(peer.settle)
            trial.stop()
            wrong = check.hourly(trial.rows(), check.recount(rig.bootstrap, topic.name, topic.partitions))
    except Failed as failure:
        wrong = [str(failure)]
    finally:
        rig.drop(topic)
    if wrong:
        return {**head, "correct": False, "wrong": wrong}
    return {**head, "correct": True, "kills": count, "to_commit_s": round(statistics.median(took), 3), "to_commit_max_s": round(max(took), 3),
            "us": round(statistics.median(took), 3)}


def _worked(trial):
    """It goes on for a second and a half, so that every kill meets a process at work."""
    began = trial.read()
    time.sleep(1.5)
    until = time.monotonic() + 60
    while trial.read() <= began:
        if time.monotonic() > until:
            raise Failed(f"{trial.peer.name} stands still: {trial.last_words()}")
        time.sleep(0.05)


def crash(rig, book, options):
    """kill -9 to the next commit, disk kept, started again at once, 5 000 events a second; seconds stand where CPU else does"""
    for peer, count in ((peers.tidemill("w1"), KILLS), (peers.ks_expert(), THEIR_KILLS)):
        if book.wants(peer):
            book.add("crash", 1, _kills(rig, peer, 1 if options.brief else count))
