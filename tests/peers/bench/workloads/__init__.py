"""The workloads by their names. Each is a function of the rig, the book of rows and the options; its first line says what it is."""
from . import crash, drains, footprint, keyed, live, postgres, restore

WORKLOADS = {
    "w1": drains.w1, "w0": drains.w0, "w1e": drains.w1e, "w4": keyed.w4, "past-memory": keyed.past_memory, "hopping": drains.hopping,
    "partitions": drains.partitions, "commits": drains.commits, "latency": live.latency, "steady": live.steady, "crash": crash.crash,
    "restore": restore.restore, "postgres": postgres.postgres, "footprint": footprint.footprint,
}
