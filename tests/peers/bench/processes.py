"""What processes cost, from /proc. Called by trials and by the rig. Knows nothing of Kafka.
Invariant: a process that is gone has no figure, never 0."""
import os
import pathlib

TICK = os.sysconf("SC_CLK_TCK")
_COMPILERS, _NAMES = {}, {}      # seconds of compiling threads by process, names of threads


def _stat(pid):
    text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    return text.rsplit(")", 1)[1].split()


def cpu(pid):
    """User and system seconds of a process and of the children that it has waited for, without those of Java's compiler; None once it
    is gone."""
    try:
        return sum(int(x) for x in _stat(pid)[11:15]) / TICK - _compiled(pid)
    except (OSError, IndexError):
        return None


def _compiled(pid):
    """Seconds that a Java machine has spent on compiling: a process that runs for weeks has that behind it, and one that runs for a
    quarter of a minute spends up to half of its time so. Its threads may end while it lives, so what each had is kept."""
    known = _COMPILERS.setdefault(pid, {})
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        if task.name in known or _is_compiler(task):
            try:
                known[task.name] = sum(int(x) for x in (task / "stat").read_text().rsplit(")", 1)[1].split()[11:13]) / TICK
            except OSError:
                pass  # it has ended since
    return sum(known.values())


def _is_compiler(task):
    name = _NAMES.get(task.name, "java")
    if name == "java":               # as long as it has no name of its own
        try:
            name = _NAMES[task.name] = (task / "comm").read_text().strip()
        except OSError:
            return False
    return name.startswith(("C1 Compiler", "C2 Compiler"))


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
