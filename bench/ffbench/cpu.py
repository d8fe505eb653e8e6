"""CPU time of all server processes of a cluster, from /proc.

Throughput on a shared machine moves with its neighbours; the CPU time an operation costs hardly does.
Backends that have exited count through the postmaster's record of its reaped children.
"""

import os
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat after the command name, or None for a process that has gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(") ")[2].split()


def _own_ticks(fields: list[str]) -> int:
    return int(fields[11]) + int(fields[12])


def _reaped_ticks(fields: list[str]) -> int:
    return int(fields[13]) + int(fields[14])


def parent_of(pid: int) -> int:
    """The parent of a live process: of a backend, the postmaster."""
    fields = _stat(pid)
    if fields is None:
        raise SystemExit(f"process {pid} is not visible here: the server must run on this machine")
    return int(fields[1])


def cluster_cpu_seconds(postmaster: int) -> float:
    """User and system time of the postmaster, its live descendants and the children it has reaped."""
    processes = {int(name): _stat(int(name)) for name in os.listdir("/proc") if name.isdigit()}
    members = {postmaster}
    grew = True
    while grew:
        found = {pid for pid, f in processes.items() if f and int(f[1]) in members} - members
        members |= found
        grew = bool(found)
    ticks = sum(_own_ticks(f) + _reaped_ticks(f) for pid in members if (f := processes[pid]))
    return ticks / TICKS_PER_SECOND
