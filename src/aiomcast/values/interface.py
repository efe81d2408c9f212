"""`Interface`: a network interface, as a value."""

from __future__ import annotations

from typing import TypeAlias, Union, final

import attrs

from .addresses import Address

__all__ = ["Interface", "InterfaceLike"]


@final
@attrs.frozen(slots=True)
class Interface:
    """A network interface.

    `index` is its number (if_nametoindex(3)) and stays its identity here; `addresses` are its
    IPv4 and IPv6 addresses as canonical text; `multicast` says whether it can multicast
    (loopback counts: it works there), None where the system does not tell.
    """

    index: int
    name: str
    addresses: tuple[str, ...] = ()
    multicast: bool | None = None


InterfaceLike: TypeAlias = Union[Interface, Address, int, None]
"""What `interface=` takes: a name, an index, one of its addresses, an `Interface`, or None
for the interface of the route to the first source, else to the group."""
