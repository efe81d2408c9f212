"""What is tried to find out more. Each says what it sends; none takes longer than half a second."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable
from typing import Final

from ..errors import MulticastError
from ..rfc3678 import calls
from ..system.queries import report_again
from ..system.sockets import open_socket
from ..values.addresses import canonical, family
from ..values.filters import SourceFilter
from ..values.interface import Interface
from . import gathering
from .recording import Recording

__all__ = ["answers_queries", "comes_from_itself", "real_sources", "report_leaves", "source_answers", "until"]

_SOON: Final = 0.3  # seconds: 20 times what a report takes
_LATE: Final = 1.0  # seconds: before it is said that no report goes out
_AT_ONCE: Final = 0.1  # seconds: 100 times what the host's own datagram takes
_DISCARD: Final = 9  # RFC 863
_TURN: Final = 0.01  # seconds between two looks


async def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Look until the condition is true, or so long; return whether it is."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not (is_true := condition()) and loop.time() < end:  # noqa: ASYNC110 - of which nothing is told
        await asyncio.sleep(_TURN)
    return is_true


async def report_leaves(
    interface: Interface, number: int, recording: Recording | None
) -> tuple[bool | None, int | None]:
    """Return whether this host's reports of family `number` leave it, and in which version; None: not told.

    Joins a group that nobody sends to, and leaves it: the host reports that.
    """
    # RFC 2365, 6.1 and RFC 4291, 2.7: of local scope, so that no router heeds it.
    drawn = os.urandom(2)
    group = canonical(f"239.255.{drawn[0]}.{drawn[1]}" if number == 4 else f"ff12::8000:{drawn.hex()}")
    before, _ = gathering.counters(interface.name, number)

    def grown() -> dict[str, int]:
        now, _ = gathering.counters(interface.name, number)
        return {name: more for name, value in now.items() if (more := value - before.get(name, 0))}

    def versions() -> set[int]:
        reported = recording.capture().reported if recording else ()
        return {one.version for one in reported if one.group == group}

    outgoing = {4: ("IpExtOutMcastPkts",), 6: ("Icmp6OutMLDv2Reports", "Icmp6OutGroupMembResponses")}[number]

    def has_left() -> bool:
        return bool(versions()) if recording else not grown().keys().isdisjoint(outgoing)

    def is_decided() -> bool:
        return has_left() or "Ip6OutDiscards" in grown()

    try:
        with open_socket(group, 0, interface) as sock:
            sock.set_filter(None)
            await until(is_decided, _LATE)
            left = has_left()
    except MulticastError:
        return None, None
    counted = grown()
    if not left:
        return (False if {4: "IpOutRequests", 6: "Ip6OutDiscards"}[number] in counted else None), None
    if recording:
        return True, min(versions())
    return True, None if number == 4 else 2 if "Icmp6OutMLDv2Reports" in counted else 1


async def answers_queries(interface: Interface, group: str) -> bool | None:
    """Return whether this host reports `group` when it is asked to, None where it cannot be asked.

    Asks this host, and nobody else: takes CAP_NET_RAW. A switch that has forgotten it learns of it again.
    """
    try:
        with Recording(interface.name) as recording:
            if not report_again(interface.index, family(group)):
                return None

            def has_answered() -> bool:  # and not repeated what it had reported of the join
                return any(one.group == group and one.is_answer for one in recording.capture().reported)

            return await until(has_answered, _SOON)
    except (MulticastError, OSError):
        return None


async def comes_from_itself(interface: Interface, group: str, port: int) -> bool | None:
    """Return whether an empty datagram that this host sends to the group comes back to it.

    It has no hop left, and so does not go out; who has joined on this host and lets this host in gets it.
    """
    number = family(group)
    own = next((one for one in interface.addresses if family(one) == number), None)
    if own is None:
        return None
    try:
        with open_socket(group, port, interface) as sock, _to_itself(interface, own) as sender:
            sock.set_filter(SourceFilter.include({own}))
            sent_from = sender.getsockname()[1]
            sender.sendto(b"", (group, port))

            def has_come() -> bool:
                with contextlib.suppress(BlockingIOError):
                    while sock.recvfrom(1 << 16)[1][1] != sent_from:
                        pass
                    return True
                return False

            return await until(has_come, _AT_ONCE)
    except (MulticastError, OSError):
        return None


def _to_itself(interface: Interface, own: str) -> socket.socket:
    is_ipv6 = ":" in own
    sender = socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        if is_ipv6:
            sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, interface.index)
            sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 0)
            sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 1)
            sender.bind((own, 0, 0, interface.index if own.startswith("fe80:") else 0))
        else:
            # struct ip_mreqn: by the index, as an address may be on several interfaces.
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=8xi", interface.index))
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
            sender.bind((own, 0))
    except BaseException:
        sender.close()
        raise
    return sender


async def real_sources(interface: Interface, group: str, port: int) -> tuple[str, ...] | None:
    """Return who sends to the group and port, where all sources are let in; None where that is refused.

    Joins any source: in the source-specific ranges the standard has no such membership (RFC 4604, 2.2), so
    this is for somebody who has asked for it.
    """
    heard: set[str] = set()
    try:
        with open_socket(group, port, interface) as sock:
            calls.join_group(sock, interface.index, group)

            def has_come() -> bool:
                with contextlib.suppress(BlockingIOError):
                    while True:
                        heard.add(canonical(sock.recvfrom(1 << 16)[1][0]))
                return bool(heard)

            await until(has_come, _SOON)
    except (MulticastError, OSError):
        return None
    return tuple(sorted(heard - set(interface.addresses)))


async def source_answers(source: str) -> bool | None:
    """Return True when a source refuses an empty datagram that is sent to its port 9, so it is alive."""
    kind = socket.AF_INET6 if ":" in source else socket.AF_INET
    try:
        with socket.socket(kind, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect((source, _DISCARD))
            sock.send(b"")
            answered = await until(lambda: sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0, _SOON)
    except ConnectionRefusedError:
        return True
    except OSError:
        return None
    return answered or None
