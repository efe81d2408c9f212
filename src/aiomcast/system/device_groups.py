"""The groups that Linux's interfaces themselves are members of, whatever a socket believes."""

from __future__ import annotations

import errno
import struct
import sys

from ..errors import UnsupportedError
from ..rfc3678.refusals import refusals
from ..values.addresses import unpack
from ..values.links import DeviceGroup
from .netlink import MalformedMessage, Netlink, attributes

__all__ = ["device_groups", "parse_device_group", "parse_igmp", "parse_igmp6"]

_RTM_GETMULTICAST = 58
_IFADDRMSG = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index
_IFA_MULTICAST = 7
_FAMILIES = {4: 2, 6: 10}
# How a kernel says that it has no such list: before Linux 6.15 only that of IPv6.
_WITHOUT = (errno.EOPNOTSUPP, errno.EAFNOSUPPORT, errno.EINVAL)


def device_groups(family: int) -> frozenset[DeviceGroup]:
    """Return the groups of this `family` (4 or 6) that interfaces of the network namespace are members of.

    That of the calling thread. Unprivileged. Unlike getsockopt(2) it shows a membership that the device
    has lost. UnsupportedError where the system has no such list, RefusedError where it refuses it.
    """
    with refusals(f"listing the groups of IPv{family} that interfaces are members of"):
        try:
            with Netlink() as kernel:
                told = kernel.dump(_RTM_GETMULTICAST, _IFADDRMSG.pack(_FAMILIES[family], 0, 0, 0, 0))
            return frozenset(map(parse_device_group, told))
        except UnsupportedError:
            pass
        except OSError as error:
            if error.errno not in _WITHOUT:
                raise
        return _from_proc(family)


def parse_device_group(payload: bytes) -> DeviceGroup:
    """Return what a message of that list tells. MalformedMessage if it cannot be read."""
    if len(payload) < _IFADDRMSG.size:
        raise MalformedMessage(f"{len(payload)} bytes tell of no group")
    packed = attributes(payload, _IFADDRMSG.size).get(_IFA_MULTICAST, b"")
    if len(packed) not in (4, 16):
        raise MalformedMessage(f"{len(packed)} bytes are no group")
    return DeviceGroup(_IFADDRMSG.unpack_from(payload)[4], unpack(packed))


def _from_proc(family: int) -> frozenset[DeviceGroup]:
    name, parse = ("igmp", parse_igmp) if family == 4 else ("igmp6", parse_igmp6)
    try:
        # Not /proc/net, which shows the namespace of the process's main thread. Bytes, as it has names.
        with open(f"/proc/thread-self/net/{name}", "rb") as file:
            return parse(file.read())
    except FileNotFoundError as error:
        raise UnsupportedError(
            f"this system does not tell the groups of IPv{family} that interfaces are members of",
            "look on the wire",
        ) from error


def parse_igmp(table: bytes) -> frozenset[DeviceGroup]:
    """Return what /proc/net/igmp tells. MalformedMessage if it cannot be read."""
    found: list[DeviceGroup] = []
    index = 0
    try:
        for line in table.splitlines()[1:]:
            first = line.split(maxsplit=1)[0]
            if line[:1].isspace():  # a number in network order, shown as if it were in the processor's
                found.append(DeviceGroup(index, unpack(int(first, 16).to_bytes(4, sys.byteorder))))
            else:
                index = int(first)
    except (IndexError, OverflowError, ValueError) as error:
        raise MalformedMessage("/proc/net/igmp has another form than this knows") from error
    return frozenset(found)


def parse_igmp6(table: bytes) -> frozenset[DeviceGroup]:
    """Return what /proc/net/igmp6 tells. MalformedMessage if it cannot be read."""
    try:
        fields = [line.split() for line in table.splitlines()]
        return frozenset(
            DeviceGroup(int(index), unpack(bytes.fromhex(group.decode()))) for index, _, group, *_ in fields
        )
    except ValueError as error:
        raise MalformedMessage("/proc/net/igmp6 has another form than this knows") from error
