"""Runs a command and measures it: its own CPU time, its largest resident memory, and what servers used meanwhile."""

import contextlib
import os
import pathlib
import subprocess
import time
from dataclasses import dataclass, field

TICKS = os.sysconf("SC_CLK_TCK")
# Often enough for a peak that lasts; each look costs some microseconds.
EVERY = 0.02


def cpu_of(pid):
    """CPU-seconds, user and system, that a process and its ended children have used."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(int(fields[at]) for at in (11, 12, 13, 14)) / TICKS


def cpu_of_tree(pid):
    """The same with the children that live."""
    used = cpu_of(pid)
    for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        # One that ends while it is looked at, as a session of Postgres may, has little left to count.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            used += cpu_of_tree(child)
    return used


def memory_of(pid, what):
    """`VmHWM`, the largest resident memory so far, or `VmRSS`, that of now; in MiB, 0 for a process that has ended."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(what)), 0)


def busy():
    """CPU-seconds that the machine has been at work, for whomever, or was kept from it by its host."""
    user, nice, system, _idle, _wait, *more = pathlib.Path("/proc/stat").read_text().split()[1:9]
    return sum(map(int, (user, nice, system, *more))) / TICKS


@dataclass
class Measured:
    """What a command took."""

    seconds: float
    cpu: float
    peak_mib: float
    # CPUs that were busy meanwhile with neither the command nor its servers, on average.
    foreign: float
    # By server: the CPU-seconds that it used in that time.
    servers: dict = field(default_factory=dict)
    output: str = ""
    notes: str = ""


class Failed(Exception):
    """A command that did not end as it should."""


def run(command, log, servers=None, timeout=900, until=None):
    """Runs a command to its end, with its output in the file `log`.

    `until(pid)` is asked now and then; when it says so, the command is asked to end.
    """
    servers = servers or {}
    before = {name: cpu_of_tree(pid) for name, pid in servers.items()}
    begun, busy_before = time.monotonic(), busy()
    with open(log, "wb") as output:
        process = subprocess.Popen([str(part) for part in command], stdout=output, stderr=subprocess.STDOUT)
    peak, stopped = 0, False
    while True:
        peak = max(peak, memory_of(process.pid, "VmHWM"))
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        if not stopped and until and until(process.pid):
            process.terminate()
            stopped = True
        if time.monotonic() - begun > timeout:
            process.kill()
            process.wait()
            raise Failed(f"{command[0]} did not end within {timeout} s; its output is in {log}")
        time.sleep(EVERY)
    seconds, worked = time.monotonic() - begun, busy() - busy_before
    process.returncode = os.waitstatus_to_exitcode(status)
    used = {name: cpu_of_tree(pid) - before[name] for name, pid in servers.items()}
    text = pathlib.Path(log).read_text(errors="replace")
    if process.returncode != 0 and not stopped:
        raise Failed(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{text[-2000:]}")
    cpu = usage.ru_utime + usage.ru_stime
    return Measured(seconds, cpu, peak, (worked - cpu - sum(used.values())) / seconds, used, text)
