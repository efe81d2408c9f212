"""What stands between packets where the numbers are not in a row: `Gap` and `Restart`. Pure values."""

from __future__ import annotations

from typing import TypeAlias, final

import attrs

from ..values.packets import Flow, Packet
from ..values.sealed import sealed

__all__ = ["Gap", "Item", "Restart"]


@final
@sealed
@attrs.frozen(slots=True)
class Gap:
    """`count` numbers that are missing here: from `first` to `last`, both of them missing.

    The numbers are those of the packets: where they wrap, `last` is below `first`. `flow` is that of the
    packet after it.
    """

    first: int
    last: int
    count: int
    flow: Flow


@final
@sealed
@attrs.frozen(slots=True)
class Restart:
    """The numbers go on elsewhere: after `last` at `first`, further apart than any reordering.

    A source that begins anew does so, and one that nobody has heard for a while: what lies between is
    lost then, and is in no count. `flow` is that of the packet after it.
    """

    last: int
    first: int
    flow: Flow


Item: TypeAlias = Packet | Gap | Restart
