"""What processes cost, from /proc. Called by trials and by the rig. Knows nothing of Kafka.
Invariant: a process that is gone has no figure, never 0."""
import os
import pathlib

TICK = os.sysconf("SC_CLK_TCK")


def _stat(pid):
    text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    return text.rsplit(")", 1)[1].split()


def cpu(pid):
    """User and system seconds of a process and of the children that it has waited for; None once it is gone."""
    try:
        return sum(int(x) for x in _stat(pid)[11:15]) / TICK
    except (OSError, IndexError):
        return None


def family_cpu(pid):
    """The same of a process and its living children: a server that forks."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
    try:
        family = [pid, *map(int, children.read_text().split())]
    except OSError:
        return None
    return sum(cpu(p) or 0.0 for p in family)


def _memory(pid, name):
    try:
        lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))
    except (OSError, StopIteration):
        return None


def peak_rss_mb(pid):
    return _memory(pid, "VmHWM")


def rss_mb(pid):
    return _memory(pid, "VmRSS")


def load():
    """Runnable threads of the machine, averaged over the last minute."""
    return round(os.getloadavg()[0], 2)
