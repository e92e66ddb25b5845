"""The harness's own rules: what takes a row's figures away, and what a ratio is. Needs no broker. `make peers` runs it."""
import unittest
from bench import check, pictures, report, trial

ROWS = [{"hour": 497000, "type": "click", "count": 3, "users": 2, "sum": 4.50}, {"hour": 497000, "type": "login", "count": 1, "users": 1, "sum": 1.25}]
ORACLE = {"rows": ROWS, "unique": 2, "ids": (0x3AC4 << 48) + 1, "high": 1}


def ours(kind, count, users, total):
    """A result as Tidemill says it; hour 497000 since 1970 is 2026-09-12T08:00:00Z."""
    return {"window": {"start": "2026-09-12T08:00:00Z", "end": "2026-09-12T09:00:00Z"}, "event_type": kind, "count": count, "users": users,
            "sum": total, "result": "update"}


def row(peer, round_, us, **more):
    return {"workload": "w1", "peer": peer, "round": round_, "us": us, "broker_us": us / 10, "load": 1.0, "correct": True, **more}


class Oracle(unittest.TestCase):
    def test_both_shapes_of_a_result_are_understood(self):
        self.assertEqual(check.hourly(ROWS, ORACLE), [])
        self.assertEqual(check.hourly([ours("click", 3, 2, 4.5), ours("login", 1, 1, 1.25)], ORACLE), [])

    def test_partials_of_partitions_add_up(self):
        parts = [{**ROWS[0], "count": 1, "users": 1, "sum": 1.5}, {**ROWS[0], "count": 2, "users": 1, "sum": 3.0}, ROWS[1]]
        self.assertEqual(check.hourly(parts, ORACLE), [])

    def test_any_difference_is_found(self):
        right = [ours("click", 3, 2, 4.5), ours("login", 1, 1, 1.25)]
        for name, value in (("count", 4), ("users", 1), ("sum", 4.51), ("event_type", "search")):
            wrong = [{**right[0], name: value}, right[1]]
            self.assertTrue(check.hourly(wrong, ORACLE), name)
        self.assertTrue(check.hourly(right[:1], ORACLE), "a row is missing")

    def test_a_process_past_its_memory_is_wrong(self):
        self.assertEqual(check.held(256, 256) + check.held(9999, None), [])
        self.assertTrue(check.held(257, 256))

    def test_checksums_are_compared_to_the_last_bit(self):
        self.assertTrue(check.differences({"ids": [2**62 + 1]}, {"ids": [2**62]}))

    def test_a_hopping_window_is_the_sum_of_its_seconds(self):
        oracle = {"types": ["click"], "seconds": [[7200, 0, 1, 100], [7205, 0, 2, 50], [20000, 0, 1, 1]]}
        # Panes of 10 s: both first seconds lie in the windows that start from 3610 to 7200.
        right = [{"window": {"start": f"1970-01-01T{s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}Z"}, "event_type": "click", "count": 3, "sum": 1.5}
                 for s in range(3610, 7210, 10)]
        self.assertEqual(check.hopping(right, oracle, 10), [])
        self.assertTrue(check.hopping(right[1:], oracle, 10), "a window is missing")
        self.assertTrue(check.hopping([{**right[0], "count": 2}, *right[1:]], oracle, 10))


class Report(unittest.TestCase):
    def test_a_ratio_is_taken_within_a_round(self):
        rows = [row("tidemill", 1, 1.0), row("ks-dsl", 1, 10.0), row("tidemill", 2, 2.0), row("ks-dsl", 2, 24.0), row("tidemill", 3, 1.0), row("ks-dsl", 3, 11.0)]
        self.assertEqual([line["ratio"] for line in report.summary(rows)], [1.0, 11.0])

    def test_one_wrong_round_takes_the_figures_away(self):
        wrong = {"workload": "w1", "peer": "ks-dsl", "round": 2, "load": 1.0, "correct": False, "wrong": ["missing"]}
        lines = report.summary([row("tidemill", 1, 1.0), row("ks-dsl", 1, 10.0), wrong])
        self.assertNotIn("us", lines[1])
        self.assertIn("NO FIGURE: missing", report.table([row("tidemill", 1, 1.0), row("ks-dsl", 1, 10.0), wrong]))

    def test_nothing_is_compared_with_a_wrong_tidemill(self):
        wrong = {"workload": "w1", "peer": "tidemill", "round": 1, "load": 1.0, "correct": False, "wrong": ["missing"]}
        self.assertIsNone(report.summary([wrong, row("ks-dsl", 1, 10.0)])[1]["ratio"])

    def test_a_picture_is_well_formed(self):
        import xml.dom.minidom
        lines = report.summary([row("tidemill", 1, 1.0), row("ks-dsl", 1, 12.0)])
        self.assertIn(">12.0<", pictures.cost(lines))
        xml.dom.minidom.parseString(pictures.cost(lines))


class Cost(unittest.TestCase):
    def test_what_is_not_committed_yet_shifts_nothing(self):
        # 10 us an event at 1 000 events a sample, always 5 000 ahead of what is committed.
        samples = [(i * 0.1, max(0, (i - 5) * 1000), i * 0.01, 0.0, 0.0) for i in range(105)]
        self.assertAlmostEqual(trial.slope(samples, 2, 0.2), 10.0, places=6)


if __name__ == "__main__":
    unittest.main()
