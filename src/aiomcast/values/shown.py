"""How a value that is wrong is named in a message, whatever it is."""

from __future__ import annotations

__all__ = ["shown"]

_LONGEST = 200  # characters


def shown(value: object) -> str:
    """Return `repr(value)`, cut where it is long; where it fails, as that of a huge int does, the type."""
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
