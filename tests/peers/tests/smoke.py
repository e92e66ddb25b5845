"""The harness with the real program on a real broker, small: W1 keeps its figures, W1 without its dedupe loses them.
`make peers` runs it. Needs no Java peer: these events and their oracle are made here."""
import dataclasses
import json
import pathlib
import unittest
from confluent_kafka import Producer
from bench import check, peers, places, rig, trial

TYPES = sorted(check.TYPES)


def events(n):
    """Events of two hours by 40 users; every tenth comes twice, every fiftieth breaks a rule."""
    for i in range(n):
        at = i * 7200 // n
        user = f"user-{i * 7 % 40}"
        event = {"event_id": f"id-{i}", "user_id": user, "event_type": TYPES[i % 6], "timestamp": f"2026-01-01T{10 + at // 3600}:{at // 60 % 60:02}:{at % 60:02}Z",
                 "duration_seconds": -1 if i % 50 == 0 else i % 97 / 4}
        value = json.dumps(event).encode()
        for _ in range(2 if i % 10 == 1 else 1):
            yield user.encode(), value


class Smoke(unittest.TestCase):
    def setUp(self):
        self.rig = self.enterContext(rig.Rig(load=False))
        self.rig.create("events", 2)
        producer = Producer({"bootstrap.servers": self.rig.bootstrap, "partitioner": "murmur2_random", "log_level": 0})
        sent = [producer.produce("events", value, key) for key, value in events(3000)]
        producer.flush()
        oracle = check.recount(self.rig.bootstrap, "events", 2)
        self.topic = rig.Topic("events", 2, {**oracle, "n": len(sent)})
        self.peer = dataclasses.replace(peers.tidemill("w1"), settle=0.3)

    def race(self, peer):
        return trial.race(self.rig, peer, self.topic, lambda t: check.hourly(t.rows(), self.topic.oracle))

    def test_right_rows_have_figures_and_wrong_ones_have_none(self):
        right = self.race(self.peer)
        self.assertEqual((right["correct"], right.get("n")), (True, self.topic.n), right)
        self.assertGreater(right["us"], 0)
        self.assertGreater(right["bytes_per_event"]["changelog"], 0)
        file = pathlib.Path(self.rig.scratch / "twice.yaml")
        lines = (places.TOPOLOGIES / "w1.yaml").read_text().splitlines()
        file.write_text("\n".join(line for line in lines if "dedupe" not in line))
        swap = [[str(file) if part.endswith(".yaml") else part for part in words] for words in (self.peer.command, self.peer.before)]
        wrong = self.race(dataclasses.replace(self.peer, command=swap[0], before=swap[1]))
        self.assertFalse(wrong["correct"])
        self.assertIn("is due", wrong["wrong"][0])
        self.assertNotIn("us", wrong)


if __name__ == "__main__":
    unittest.main()
