"""What a reader has to know about the machine to judge the figures."""

from __future__ import annotations

import datetime
import os
import platform
from pathlib import Path

import psutil

from bench.network import is_private
from mirrornode import __version__

GIB = 1 << 30
CONGESTION = Path("/proc/sys/net/ipv4/tcp_congestion_control")


def describe(folder: Path) -> dict[str, str]:
    """Return the facts of this machine; `folder` is where the files lie."""
    return {
        "": f"{os.cpu_count()} cores of {_cpu()}",
        "memory": f"{psutil.virtual_memory().total / GIB:.0f} GiB",
        "Linux": platform.release().split("-")[0],
        "TCP": CONGESTION.read_text().strip(),
        "network": "a namespace of its own" if is_private() else "loopback, shared",
        "files in": str(folder),
        "Python": platform.python_version(),
        "mirrornode": __version__,
        "date": datetime.date.today().isoformat(),
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
