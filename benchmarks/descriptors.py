"""How many sockets this process may have."""

from __future__ import annotations

import resource

__all__ = ["raise_limit", "sizes_within"]

_OTHERS = 100  # descriptors for everything that is no channel


def raise_limit() -> int:
    """Raise the soft limit of descriptors to the hard one; return how many channels that allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard - _OTHERS


def sizes_within(sizes: list[int]) -> tuple[list[int], list[str]]:
    """Return the numbers of channels that can be had, and a note for each that cannot."""
    most = raise_limit()
    notes = [
        f"{size:,} channels need as many descriptors, but the hard limit allows {most:,} (ulimit -Hn): "
        "root may raise it"
        for size in sizes
        if size > most
    ]
    return [size for size in sizes if size <= most], notes
