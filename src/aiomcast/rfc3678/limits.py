"""How many sources one socket may list for a group, and how many files a process may open."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable
from typing import TypeVar

from ..errors import LimitError
from ..values.addresses import family
from .abi import native
from .refusals import open_files, sysctl_value

__all__ = ["SOURCE_SYSCTL", "source_limit", "with_open_files"]

T = TypeVar("T")

ABI = native()
SOURCE_SYSCTL = {kind: ABI.facts.sources(kind).sysctl for kind in (4, 6)}
"""The setting that raises `source_limit`, by family."""


def source_limit(group: str) -> int | None:
    """Return how many sources a socket may list for a group of this family, None if unlimited."""
    sysctl, default = ABI.facts.sources(family(group))
    shown = sysctl_value(sysctl) if sysctl is not None else None
    if shown is None:
        return default
    return shown if shown >= 0 else None  # Linux compares without a sign


def with_open_files(attempt: Callable[[], T]) -> T:
    """Return what `attempt` returns; when files run out, raise the soft limit and try once more."""
    try:
        return attempt()
    except LimitError as error:
        if error.errno != errno.EMFILE or not _raise_open_files():
            raise
    return attempt()


def _raise_open_files() -> bool:
    """Raise the soft limit of open files to the hard one; say whether that changed anything."""
    if open_files() is None:
        return False
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return False
    with contextlib.suppress(ValueError, OSError):  # macOS refuses an unlimited hard limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] != soft
