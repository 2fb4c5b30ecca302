"""Memory of this process, as Linux tells it.

Not by `getrusage`: its peak includes the process that started this one, as it was then.
"""

from pathlib import Path
from typing import Literal


def memory_gib(key: Literal["VmRSS", "VmHWM"]) -> float:
    """GiB now (`VmRSS`), or at most since the process began or that was reset (`VmHWM`)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 2**20
