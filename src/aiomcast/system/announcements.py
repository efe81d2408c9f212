"""What Linux announces of interfaces, addresses and routes, as values. No policy, no loop."""

from __future__ import annotations

import errno
from typing import Final, final

from ..rfc3678.refusals import refusals
from ..values.links import (
    AddressAdded,
    AddressRemoved,
    Announcement,
    LinkChanged,
    LinkRemoved,
    Missed,
    RoutesChanged,
)
from ..values.sealed import sealed
from .links import IFINFOMSG, parse_address, parse_link
from .netlink import MalformedMessage, Message, Netlink, attributes, messages

__all__ = ["Announcements", "announced"]

# linux/rtnetlink.h
_RTNLGRP_LINK = 1
_RTNLGRP_IPV4_IFADDR = 5
_RTNLGRP_IPV4_ROUTE = 7
_RTNLGRP_IPV4_RULE = 8
_RTNLGRP_IPV6_IFADDR = 9
_RTNLGRP_IPV6_ROUTE = 11
_RTNLGRP_IPV6_RULE = 19
_ALWAYS = (_RTNLGRP_LINK, _RTNLGRP_IPV4_IFADDR, _RTNLGRP_IPV6_IFADDR)
_OF_ROUTES = (_RTNLGRP_IPV4_ROUTE, _RTNLGRP_IPV6_ROUTE, _RTNLGRP_IPV4_RULE, _RTNLGRP_IPV6_RULE)
_RTM_NEWLINK = 16
_RTM_DELLINK = 17
_RTM_NEWADDR = 20
_RTM_DELADDR = 21
_RTM_NEWROUTE = 24
_RTM_DELROUTE = 25
_RTM_NEWRULE = 32
_RTM_DELRULE = 33
# linux/if_link.h
_IFLA_WIRELESS = 11

_FAMILIES = {2: 4, 10: 6}
# A few hundred announcements: one takes about 4 KiB of it.
_ROOM = 1 << 21
# Datagrams read at a time, so that a storm of changes leaves others their turn.
_READ: Final = 256
_MOST: Final = 1 << 16  # a bound far beyond what there is room for


def announced(message: Message) -> Announcement | None:
    """Return what a message of the kernel announces, None for what concerns nobody here.

    MalformedMessage for one that cannot be read.
    """
    kind, payload = message.kind, message.payload
    if kind in (_RTM_NEWLINK, _RTM_DELLINK):
        if not _is_of_the_link(payload):
            return None
        link = parse_link(payload)
        return LinkChanged(link) if kind == _RTM_NEWLINK else LinkRemoved(link)
    if kind in (_RTM_NEWADDR, _RTM_DELADDR):
        address = parse_address(payload)
        return AddressAdded(address) if kind == _RTM_NEWADDR else AddressRemoved(address)
    if kind in (_RTM_NEWROUTE, _RTM_DELROUTE, _RTM_NEWRULE, _RTM_DELRULE):
        family = _FAMILIES.get(payload[0]) if payload else None  # rtmsg and fib_rule_hdr begin with it
        return None if family is None else RoutesChanged(family)
    return None


def _is_of_the_link(payload: bytes) -> bool:
    # A bridge tells of its ports by the same messages, with its own family: a port that leaves the
    # bridge is no interface that goes. A wireless driver's have a name and nothing else.
    if len(payload) < IFINFOMSG.size:
        raise MalformedMessage(f"{len(payload)} bytes tell of no interface")
    return payload[0] == 0 and _IFLA_WIRELESS not in attributes(payload, IFINFOMSG.size)


@final
@sealed
class Announcements:
    """The changes of interfaces and addresses of a network namespace from now on; of routes when asked to.

    The namespace is that of the thread that makes it. Needs no privilege. Nothing blocks: watch `fileno()`
    for reading. A context manager. UnsupportedError where there is no AF_NETLINK, RefusedError where
    the system refuses it otherwise.
    """

    __slots__ = ("_kernel",)

    def __init__(self) -> None:
        with refusals("asking for announcements of interfaces"):
            self._kernel = Netlink()
            try:
                self._kernel.make_room(_ROOM)
                for group in _ALWAYS:
                    self._kernel.join(group)
            except BaseException:
                self._kernel.close()
                raise

    def __enter__(self) -> Announcements:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Have nothing more announced. Harmless when it is closed."""
        self._kernel.close()

    def fileno(self) -> int:
        """Return the descriptor that is readable when something has been announced."""
        return self._kernel.fileno()

    def follow_routes(self, wanted: bool) -> None:
        """Have changes of routes and rules announced too, or no longer.

        Not at first, as a router has very many.
        """
        with refusals("asking for announcements of routes"):
            for group in _OF_ROUTES:
                (self._kernel.join if wanted else self._kernel.leave)(group)

    def read(self) -> list[Announcement]:
        """Return what has been announced, in order; empty when nothing has.

        No more than some hundreds at a time. What says the same as the one before it is left out:
        many routes that change come to one `RoutesChanged`. RefusedError when the socket is closed.
        """
        found: list[Announcement] = []
        with refusals("reading announcements of interfaces"):
            for _ in range(_READ):
                try:
                    told = [announced(one) for one in messages(self._kernel.receive())]
                except BlockingIOError:
                    break
                except MalformedMessage:
                    return self._all_missed()
                except OSError as error:
                    if error.errno != errno.ENOBUFS:
                        raise
                    return self._all_missed()
                for one in told:
                    if one is not None and (not found or found[-1] != one):
                        found.append(one)
        return found

    def _all_missed(self) -> list[Announcement]:
        """Throw away what waits: it is older than what is looked at now."""
        for _ in range(_MOST):
            try:
                self._kernel.receive()
            except BlockingIOError:
                break
            except OSError as error:  # once more without room, or not to be read
                if error.errno not in (errno.ENOBUFS, errno.EBADMSG):
                    raise
        return [Missed()]
