"""Numbers as they are shown in a column: at most six characters."""

from __future__ import annotations

__all__ = ["age", "bits", "count", "duration"]


def count(number: float) -> str:
    """Return a count or rate: whole up to 99,999, then with k, M, G or T."""
    if 0 < number < 9.95:
        return f"{number:.1f}".removesuffix(".0")
    return f"{number:.0f}" if number < 99_999.5 else bits(number)


def bits(number: float) -> str:
    """Return a rate in bits per second with three digits and k, M, G or T."""
    for unit in ("", "k", "M", "G"):
        if number < 999.5:
            return f"{number:.{0 if not unit or number >= 99.95 else 1}f}{unit}"
        number /= 1000
    return f"{number:.1f}T"


def duration(nanoseconds: float | None) -> str:
    """Return a short time in the unit that suits it."""
    if nanoseconds is None:
        return "-"
    for unit, size in (("ns", 1e3), ("us", 1e3), ("ms", 1e3)):
        if nanoseconds < 999.5:
            return f"{nanoseconds:.{0 if nanoseconds >= 9.95 else 1}f}{unit}"
        nanoseconds /= size
    return age(nanoseconds)


def age(seconds: float | None) -> str:
    """Return how long ago something was."""
    if seconds is None:
        return "never"
    if seconds < 99.95:
        return f"{seconds:.1f}s"
    if seconds < 5999.5:
        return f"{seconds / 60:.0f}min"
    return f"{seconds / 3600:.0f}h"
