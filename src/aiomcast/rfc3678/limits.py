"""How many sources one socket may list for a group, and how many files a process may open."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable
from typing import TypeVar

from ..errors import LimitError
from ..values.addresses import family
from .abi import native
from .refusals import open_files
from .sysctls import setting_value

__all__ = ["host_source_limit", "most_sources", "source_limit", "source_sysctl", "with_open_files"]

T = TypeVar("T")

ABI = native()


def source_sysctl(group: str) -> str | None:
    """Return the setting that raises `source_limit`, None where there is none."""
    return ABI.facts.sources(family(group)).sysctl


def most_sources(group: str) -> int | None:
    """Return how many sources one call may list for a group of this family, None if unlimited."""
    return setting_value(ABI.facts.sources(family(group)))


def source_limit(group: str) -> int | None:
    """Return how many sources a socket may list, so that every list can take the place of every other.

    None if unlimited. Where both count together meanwhile, it is half of what one call may list.
    """
    most = most_sources(group)
    return max(most // 2, 1) if most is not None and ABI.facts.lists_add_up else most


def host_source_limit(group: str) -> int | None:
    """Return how many different sources all sockets of the host may list for a group on an interface.

    None if unlimited.
    """
    return setting_value(ABI.facts.host_sources(family(group)))


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
