"""Which limit an ENOBUFS or ENOMEM stands for: what the call needed, against the limits as they are now.

Asked once the system has refused, never before. On Linux the limits of groups and of sources per
socket and `net.core.optmem_max` share these errnos, so the errno alone tells none of them.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable
from typing import NamedTuple

from ..values.addresses import unpack
from . import full_state, kernel
from .abi import native
from .limits import host_source_limit, most_sources, source_sysctl
from .refusals import Limit, Shortage
from .sysctls import sysctl_value

__all__ = ["of_join", "of_less", "of_list", "of_source"]

ABI = native()
_MEMINFO = struct.Struct("=9I")  # linux/sock_diag.h: SK_MEMINFO_*
_IN_OPTIONS = 6  # SK_MEMINFO_OPTMEM

# What Linux keeps of a membership and of a list of sources, in bytes, by the length of a packed
# address: struct ip_mc_socklist, ipv6_mc_socklist; ip_sf_socklist, ip6_sf_socklist. Joined one by
# one, sources get room for ten at a time.
_POINTER = struct.calcsize("P")
_MEMBERSHIP = {4: 16 + 4 * _POINTER, 16: 24 + 4 * _POINTER}
_LIST = 8 + 2 * _POINTER
_ROOM = 10


class _Memory(NamedTuple):
    """What a socket's options take, of how much; None where the system does not tell."""

    used: int | None
    limit: Limit | None

    def is_short_of(self, size: int) -> bool:
        most = self.limit.value if self.limit is not None else None
        return most is not None and self.used is not None and self.used + size >= most


def of_join(sock: socket.socket, group: bytes) -> Shortage:
    """Say what refused `sock` a membership of `group` (packed)."""
    here = _is_here(sock)
    memory, groups = _memory(sock, here), _groups(group, here)
    is_short = memory.is_short_of(_MEMBERSHIP[len(group)])
    if groups is not None and _is_full(sock, groups, memory, is_short):
        return _known(groups, memory.limit if is_short else None)
    return _known(memory.limit) if is_short else _unknown(groups, memory.limit)


def of_source(sock: socket.socket, group: bytes, held: Callable[[], int | None]) -> Shortage:
    """Say what refused `sock` one more source of `group`.

    `held` returns how many it has, None if it is no member: then joining the group was refused.
    """
    count = held()
    if count is None:
        return of_join(sock, group)
    here = _is_here(sock)
    sources, memory = _sources(group, here), _memory(sock, here)
    if sources.value is not None and count >= max(sources.value, 1):  # a first one is always taken
        return _known(sources)
    if memory.is_short_of(_LIST + (count + _ROOM) * len(group)):
        return _known(memory.limit)
    return _unknown(sources, memory.limit)


def of_list(
    sock: socket.socket,
    group: bytes,
    count: int,
    size: Callable[[], int],
    together: Callable[[], int | None],
) -> Shortage:
    """Say what refused `sock` a list of `count` sources of `group`, a value of `size` bytes.

    `together` returns how many sources that is with those it holds, None if it is no member.
    """
    here = _is_here(sock)
    if ABI.facts.lists_add_up:
        return _of_both(_sources(group, here), count, group, together)
    sources, memory = _sources(group, here), _memory(sock, here)
    most = memory.limit.value if memory.limit is not None else None
    is_short = memory.is_short_of(_LIST + count * len(group)) or (most is not None and size() > most)
    if sources.value is not None and count > sources.value:
        return _known(sources, memory.limit if is_short else None)
    return _known(memory.limit) if is_short else _unknown(sources, memory.limit)


def _of_both(sources: Limit, count: int, group: bytes, together: Callable[[], int | None]) -> Shortage:
    """Say what refused a list where the old one counts too, and what the host's other sockets list."""
    if sources.value is not None and count > sources.value:
        return _known(sources)
    both = together()
    if sources.value is not None and both is not None and both > sources.value:
        return _known(sources._replace(name="sources per group and socket, before and after,"))
    of_host = ABI.facts.host_sources(4 if len(group) == 4 else 6).sysctl
    most = host_source_limit(unpack(group))
    return _unknown(sources, Limit("sources per group, interface and host", most, of_host))


def of_less(*_: object) -> Shortage:
    """Say what refused to leave or to drop a source, which no limit does."""
    return Shortage(())


def _known(*limits: Limit | None) -> Shortage:
    there = (limit for limit in limits if limit is not None)
    return Shortage(tuple(limit for limit in there if (limit.value, limit.sysctl) != (None, None)))


def _unknown(*limits: Limit | None) -> Shortage:
    return _known(*limits)._replace(is_certain=False)


def _is_here(sock: socket.socket) -> bool:
    """Whether the limits that are to be seen are those of `sock`: of its network namespace."""
    cookie = ABI.SO_NETNS_COOKIE
    if cookie is None:
        return True
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
            one, other = (each.getsockopt(ABI.SOL_SOCKET, cookie, 8) for each in (sock, ours))
    except OSError:  # Linux before 5.14 does not tell
        return True
    return one == other


def _groups(group: bytes, here: bool) -> Limit | None:
    if ABI.facts.groups is not None:
        return Limit("groups per socket", ABI.facts.groups, None)
    sysctl = ABI.facts.groups_ipv4_sysctl
    if sysctl is None or len(group) != 4:
        return None
    return Limit("groups per socket", sysctl_value(sysctl) if here else None, sysctl)


def _sources(group: bytes, here: bool) -> Limit:
    name = unpack(group)
    return Limit("sources per group and socket", most_sources(name) if here else None, source_sysctl(name))


def _memory(sock: socket.socket, here: bool) -> _Memory:
    sysctl = ABI.facts.option_memory_sysctl
    if sysctl is None:
        return _Memory(None, None)
    limit = Limit("bytes of option memory per socket", sysctl_value(sysctl) if here else None, sysctl)
    try:
        answer = kernel.getsockopt(sock, ABI.SOL_SOCKET, ABI.SO_MEMINFO, bytes(_MEMINFO.size))
    except OSError:  # Linux before 4.12
        return _Memory(None, limit)
    return _Memory(_MEMINFO.unpack(answer)[_IN_OPTIONS], limit)


def _is_full(sock: socket.socket, groups: Limit, memory: _Memory, is_short: bool) -> bool:
    """Whether `sock` has as many IPv4 groups as it may."""
    if groups.value is None or groups.value <= 0:
        return groups.value is not None
    if memory.used is None:
        return _groups_held(sock) >= groups.value
    if memory.used < groups.value * _MEMBERSHIP[4]:
        return False
    # There may be as many. If the memory does not explain the refusal, there are.
    return not is_short or _groups_held(sock) >= groups.value


def _groups_held(sock: socket.socket) -> int:
    """Count the IPv4 groups that `sock` is a member of: no call tells, so each of the host's is asked."""
    count = index = 0
    try:
        with open("/proc/thread-self/net/igmp", encoding="ascii") as file:
            lines = file.readlines()[1:]
    except OSError:
        return 0
    for line in lines:
        if not line.startswith("\t"):
            index = int(line.split()[0])
            continue
        group = int(line.split()[0], 16).to_bytes(4, sys.byteorder)
        count += full_state.count_by_index(sock, index, group) is not None
    return count
