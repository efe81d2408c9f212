"""Where a measurement was made: what a reader needs in order to judge it. Names no machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from typing import Any

__all__ = ["describe", "sentence"]

_PACKAGES = ("aiomcast", "uvloop", "asyncio-dgram", "anyio", "multicast_expert")


def describe() -> dict[str, Any]:  # Any: JSON
    """Return kernel, Python, processor, versions, privilege and date."""
    return {
        "kernel": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "processor": _processor(),
        "processors": os.cpu_count(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": {name: _version(name) for name in _PACKAGES},
        "privileged": os.geteuid() == 0,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def sentence() -> str:
    """Return the same in one sentence."""
    known = describe()
    uvloop = known["packages"]["uvloop"]
    parts = [
        known["kernel"],
        f"{known['processors']} processors of {known['processor'] or known['machine']}",
        known["python"],
        *([f"uvloop {uvloop}"] if uvloop else []),
        *(["as root"] if known["privileged"] else []),
        known["date"],
    ]
    return f"{', '.join(parts)}."


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str | None:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(
                (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None
            )
    except OSError:
        return None
