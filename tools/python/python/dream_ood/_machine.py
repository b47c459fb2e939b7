"""What this machine is, as runs record it, and how much room it has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: What is assumed where the machine does not say.
ASSUMED = 4 << 30


@dataclass(frozen=True)
class Machine:
    """What the compiled part asks."""

    started: int | None
    batch_size: int | None
    memory: int


def machine(batch_size: int | None = None) -> Machine:
    """This machine, with half of the memory that is free for pictures in the making."""
    return Machine(_started(), batch_size, (_free() or ASSUMED) // 2)


def _started() -> int | None:
    """When this process was started, in the kernel's ticks, which tells it from a later one of the same
    number."""
    try:
        # The second field is the program's name in brackets, whatever is in it; this one is the 22nd.
        return int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def _free() -> int | None:
    """What Linux says is available, and not more than what the control group of this process allows."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        (line,) = [line for line in lines if line.startswith("MemAvailable:")]
        available = int(line.split()[1]) * 1024
    except (OSError, ValueError):
        return None
    group = Path("/sys/fs/cgroup")
    try:
        left = int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
    except (OSError, ValueError):
        return available
    return max(min(available, left), 0)
