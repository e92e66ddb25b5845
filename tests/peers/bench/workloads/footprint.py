"""What a peer weighs when there is nothing to do."""
import time
from .. import peers, places, processes
from ..trial import Failed, Trial
from .drains import EVENTS, hourly

IDLE = 20


def _rest(rig, peer, topic, idle):
    head = {"peer": peer.name, **peer.note, "load": processes.load()}
    try:
        with Trial(rig, peer, topic) as trial:
            began = time.monotonic()
            trial.start()
            while not trial.read():
                if trial.child.poll() is not None or time.monotonic() - began > 120:
                    raise Failed(f"{peer.name} did not start: {trial.last_words()}")
                time.sleep(0.005)
            first = time.monotonic() - began
            trial.watch(topic.n)
            time.sleep(5)
            used = processes.cpu(trial.child.pid)
            time.sleep(idle)
            share = (processes.cpu(trial.child.pid) - used) / idle * 100
            rss = processes.rss_mb(trial.child.pid)
            trial.stop()
            wrong = hourly(trial)
    except Failed as failure:
        wrong = [str(failure)]
    if wrong:
        return {**head, "correct": False, "wrong": wrong}
    row = {"start_s": round(first, 3), "cpu_percent": round(share, 3), "rss_mb": round(rss), "us": round(share, 3)}
    if peer.name == peers.TIDEMILL:
        row["binary_mb"] = round(places.program().stat().st_size / 2**20, 1)
    return {**head, "correct": True, **row}


def footprint(rig, book, options):
    """Start to the first commit, and CPU and memory when idle; percent of a core stand where CPU else does"""
    topic = rig.fill("idle", 20_000, **EVENTS)
    for round_ in range(1, options.rounds + 1):
        for peer in (peers.tidemill("w1"), peers.ks_expert()):
            if book.wants(peer):
                book.add("footprint", round_, _rest(rig, peer, topic, 2 if options.brief else IDLE))
