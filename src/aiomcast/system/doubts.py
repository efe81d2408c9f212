"""Whether anything can come to a membership: the system is asked, and `values.doubts` decides."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from typing import Final

from ..errors import UnsupportedError
from ..rfc3678.refusals import refusals
from ..rfc3678.sysctls import sysctl_value
from ..values.addresses import pack
from ..values.doubts import Doubt, doubts, too_small
from ..values.filters import SourceFilter
from ..values.links import Link
from .links import find_link
from .netlink import MalformedMessage, Netlink, attribute
from .routes import parse_route

__all__ = ["look", "why_invalid"]

# linux/rtnetlink.h
_RTM_GETROUTE = 26
_RTMSG = struct.Struct("=BBBBBBBBI")  # family, lengths of destination and source, tos, ..., type, flags
_RTA_DST = 1
_RTA_OIF = 4
_FAMILIES = {4: 2, 16: 10}  # by the length of an address

# By these the system says that a route leads nowhere, and by those that it cannot tell.
_NOWHERE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL, errno.ENODEV)
_UNTOLD = (errno.EOPNOTSUPP, errno.EAFNOSUPPORT)

_IPV6_CONF: Final = "/proc/sys/net/ipv6/conf"
_L3MDEV_ACCEPT: Final = "net.ipv4.udp_l3mdev_accept"


def look(index: int, group: str, wanted: SourceFilter) -> list[Doubt]:
    """Return why nothing can come to a member of `group` (canonical text) on the interface `index`.

    `wanted` is the filter it has, or will. Empty where nothing is known to be in the way; also where the
    system does not tell (no netlink: other systems, sandboxes; no /proc), and for an interface that is not
    there. RefusedError when the system refuses to say, for want of memory or open files.

    It is about the network namespace of the calling thread, /proc/sys/net included: the kernel looks that up
    for the thread that opens a file there. One question where all is well, for IPv6 also a small file;
    more only where the answer decides.
    """
    try:
        with refusals(f"looking at interface {index} for {group}"), Netlink() as kernel:
            link = find_link(kernel, index)
            return [] if link is None else _decided(kernel, link, group, wanted)
    except UnsupportedError:
        return []


def why_invalid(index: int, group: str) -> str:
    """Return the hint for a join that was refused with EINVAL, "" where none is known. Raises nothing."""
    if ":" in group:
        with contextlib.suppress(OSError, UnsupportedError), Netlink() as kernel:
            link = find_link(kernel, index)
            return "" if link is None else too_small(link)
    return ""


def _decided(kernel: Netlink, link: Link, group: str, wanted: SourceFilter) -> list[Doubt]:
    is_ipv6 = ":" in group
    master = has_ipv6 = loops_back = enters_vrf = None
    if is_ipv6:
        has_ipv6 = _has_ipv6(link.name)
        if link.is_loopback:
            loops_back = _is_local(kernel, group, link.index)
    if link.role is not None and link.master is not None:
        master = find_link(kernel, link.master)
    if link.role == "vrf" and not is_ipv6:
        enters_vrf = _enters_vrf()

    def decided(remote: str | None) -> list[Doubt]:
        return doubts(
            link,
            group,
            wanted,
            remote=remote,
            master=master,
            has_ipv6=has_ipv6,
            loops_back=loops_back,
            enters_vrf=enters_vrf,
        )

    # Whose the sources are takes a question each, and matters only where other hosts' would be kept out.
    suspected = decided(next(iter(wanted.sources), None))
    return suspected and decided(_remote(kernel, wanted))


def _remote(kernel: Netlink, wanted: SourceFilter) -> str | None:
    """Return a source that is listed and another host's, None where there is none, or it is not told."""
    for source in sorted(wanted.sources) if wanted.is_include else ():
        if not source.startswith("127.") and _is_local(kernel, source) is False:
            return source
    return None


def _is_local(kernel: Netlink, address: str, out: int = 0) -> bool | None:
    """Return whether what is sent to `address` is this host's own, None where the system does not tell.

    It is asked for the route, which also knows of whole prefixes that are local. `out`: the index of the
    interface it is sent on.
    """
    packed = pack(address)
    question = _RTMSG.pack(_FAMILIES[len(packed)], 8 * len(packed), 0, 0, 0, 0, 0, 0, 0)
    question += attribute(_RTA_DST, packed)
    if out:
        question += attribute(_RTA_OIF, struct.pack("=I", out))
    try:
        return parse_route(kernel.ask(_RTM_GETROUTE, question), address).index is None
    except MalformedMessage:
        raise
    except OSError as error:
        if error.errno in _NOWHERE:
            return False
        if error.errno in _UNTOLD:
            return None
        raise


def _has_ipv6(name: str) -> bool | None:
    """Return whether the interface of that name has IPv6, None where the system does not tell."""
    try:
        with open(f"{_IPV6_CONF}/{name}/disable_ipv6", "rb") as file:
            return file.read().strip() == b"0"
    except FileNotFoundError:  # an interface that IPv6 has been taken off has none, the others have
        return False if os.path.exists(f"{_IPV6_CONF}/all") else None
    except PermissionError:
        return None


def _enters_vrf() -> bool:
    """Return whether an IPv4 socket of this process hears members of a VRF, True where it is not told.

    It does where the system lets all, or where it is bound to the VRF from the start, as by `ip vrf exec`.
    """
    if sysctl_value(_L3MDEV_ACCEPT) != 0:
        return True
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        return made.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16) != b""
