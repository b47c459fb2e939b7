"""What this machine is, as runs record it, and how much room it has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: What is assumed where the machine does not say.
ASSUMED = 4 << 30


@dataclass(frozen=True)
class Machine:
    """What the compiled part asks."""

    batch_size: int | None
    memory: int


def machine(batch_size: int | None = None, share: float = 1.0) -> Machine:
    """This machine, with half of the memory that is free for pictures in the making, or a share of that."""
    return Machine(batch_size, int((_free() or ASSUMED) // 2 * share))


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
