"""What a run cost, as far as its own process can say: processor time and peak memory, its ended children included."""

from __future__ import annotations

import os
import resource
import sys
import time
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Usage:
    """A reading of the process's clocks, in seconds."""

    wall: float
    cpu: float

    @staticmethod
    def now() -> Usage:
        return Usage(time.monotonic(), sum(_times(resource.RUSAGE_SELF)) + sum(_times(resource.RUSAGE_CHILDREN)))

    def since(self) -> dict[str, Any]:
        """Seconds and processor seconds since this reading, their share of the cores, and the peak memory so far."""
        now = Usage.now()
        seconds, cpu = now.wall - self.wall, now.cpu - self.cpu
        return {
            "seconds": round(seconds, 3),
            "cpu_seconds": round(cpu, 3),
            "utilisation": round(min(cpu / (seconds * cores()), 1.0), 4) if seconds else 0.0,
            "peak_memory_bytes": _peak(),
        }


def cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _times(who: int) -> tuple[float, float]:
    usage = resource.getrusage(who)
    return usage.ru_utime, usage.ru_stime


def _peak() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    peaks = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(peaks) * unit
