"""How interfaces are now: by netlink, or as far as the system otherwise tells. No policy."""

from __future__ import annotations

from ..errors import InterfaceError, UnsupportedError
from ..rfc3678.refusals import refusals
from ..values.interface import Interface
from ..values.links import IFF_LOOPBACK, IFF_MULTICAST, IFF_RUNNING, IFF_UP, Link
from .interfaces import find_interface, list_interfaces
from .links import find_link, list_links
from .netlink import Netlink

__all__ = ["link", "links"]


def link(wanted: str | int) -> Link | None:
    """Return the interface with this name (an alternative one too) or index, None where there is none.

    RefusedError when the system refuses to say.
    """
    try:
        with refusals("looking at an interface"), Netlink() as kernel:
            return find_link(kernel, wanted)
    except UnsupportedError:
        pass
    try:
        return _link_of(find_interface(wanted))
    except InterfaceError:
        return None


def links() -> list[Link]:
    """Return all interfaces, by index. RefusedError when the system refuses to list them."""
    try:
        with refusals("looking at the interfaces"), Netlink() as kernel:
            return list_links(kernel)
    except UnsupportedError:
        return [_link_of(one) for one in list_interfaces()]


def _link_of(told: Interface) -> Link:
    """Return what is known of an interface; what is not told is taken to be well."""
    flags = 0
    for is_set, flag in (
        (told.is_up is not False, IFF_UP),
        (told.is_running is not False, IFF_RUNNING),
        (told.multicast is not False, IFF_MULTICAST),
        (told.is_loopback is True, IFF_LOOPBACK),
    ):
        flags |= flag * is_set
    return Link(index=told.index, name=told.name, flags=flags, mtu=told.mtu, mac=told.mac)
