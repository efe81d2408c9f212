"""Why a port cannot be shared: who holds it, as Linux tells in proc(5), and what that program has not set."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import islice
from pathlib import Path
from typing import NamedTuple

__all__ = ["why_in_use"]

_PROC = Path("/proc")
_MOST_SOCKETS = _MOST_DESCRIPTORS = 10_000  # that are looked at: a tenth of a second
_MOST_NAMED = 4
_WILDCARDS = (IPv4Address(0), IPv6Address(0))
_UNKNOWN = "another socket has this port, and has neither SO_REUSEADDR nor, as the same user's, SO_REUSEPORT"


class _Socket(NamedTuple):
    address: IPv4Address | IPv6Address
    uid: int
    inode: int


def why_in_use(address: str, port: int) -> str:
    """Return the hint for a bind(2) to `address` and `port` that is refused with EADDRINUSE.

    `address` is a group, or an address of this host without a scope; the socket that is bound has
    SO_REUSEADDR and SO_REUSEPORT set. Linux refuses it for the sake of another one, bound to the same
    address or the wildcard, that has neither SO_REUSEADDR nor, with the same user id, SO_REUSEPORT.
    So what is missing is known, and the program is where it can be seen: among the sockets of this thread's
    network namespace, and the processes whose descriptors it may read.

    It never raises, and looks at a limited number of each. Where nothing is found, as on other systems,
    the hint is a general one.
    """
    try:
        sockets = _in_the_way(ip_address(address), port)
        if not sockets:
            return _UNKNOWN
        programs, unseen = _programs({one.inode for one in sockets})
    except (OSError, ValueError):
        return _UNKNOWN
    own = os.geteuid()
    names = list(
        dict.fromkeys(
            programs.get(one.inode, unseen) + f" with user id {one.uid}" * (one.uid != own) for one in sockets
        )
    )
    if len(names) > _MOST_NAMED:
        names[_MOST_NAMED:] = [f"{len(names) - _MOST_NAMED} others"]
    held = f"port {port} is held by {' or '.join(names)} without SO_REUSEADDR"
    if all(one.uid == own for one in sockets):
        return f"{held} or SO_REUSEPORT: it has to set one of them before it binds"
    return (
        f"{held}: it has to set that before it binds "
        f"(SO_REUSEPORT would do for programs with the user id of this one, {own})"
    )


def _in_the_way(address: IPv4Address | IPv6Address, port: int) -> list[_Socket]:
    wanted = (address, *_WILDCARDS)
    six = _table("udp6", port)
    if address.version == 6:
        return [one for one in six if one.address in wanted]
    # One of IPv6 may be in the way of IPv4 too: only if there is none of IPv4, as /proc does not tell
    # which have IPV6_V6ONLY set.
    return [one for one in _table("udp", port) if one.address in wanted] or [
        one for one in six if one.address in _WILDCARDS or getattr(one.address, "ipv4_mapped", None) in wanted
    ]


def _table(name: str, port: int) -> list[_Socket]:
    # /proc/net is the main thread's, and this one may be in another network namespace.
    with (
        suppress(FileNotFoundError),  # a system without IPv6
        (_PROC / "thread-self/net" / name).open(encoding="ascii") as lines,
    ):
        return list(_sockets(islice(lines, _MOST_SOCKETS), port))
    return []


def _sockets(lines: Iterable[str], port: int) -> Iterator[_Socket]:
    """Yield those on `port` in the text of /proc/net/udp or udp6. ValueError if it is none."""
    wanted = f":{port:04X}"
    for line in lines:
        fields = line.split()
        if len(fields) > 9 and fields[1].endswith(wanted):
            address, _, _ = fields[1].partition(":")
            # Words of 32 bits, each written as a number of this machine.
            words = (bytes.fromhex(address[at : at + 8]) for at in range(0, len(address), 8))
            packed = b"".join(word[:: -1 if sys.byteorder == "little" else 1] for word in words)
            yield _Socket(ip_address(packed), int(fields[7]), int(fields[9]))


def _programs(inodes: set[int]) -> tuple[dict[int, str], str]:
    """Return the program that has each socket open, where one is found, and what to call the others."""
    links = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[int, str] = {}
    unseen = "a program that cannot be seen from here"
    left = _MOST_DESCRIPTORS
    own = os.readlink(_PROC / "self")
    for pid in [own, *(name for name in os.listdir(_PROC) if name.isdigit() and name != own)]:
        try:
            with os.scandir(_PROC / pid / "fd") as descriptors:
                for descriptor in islice(descriptors, left):
                    left -= 1
                    with suppress(FileNotFoundError):  # closed meanwhile
                        if inode := links.get(os.readlink(descriptor)):
                            found[inode] = "this process" if pid == own else f"{_name(pid)} (pid {pid})"
        except PermissionError:
            unseen = "a program that cannot be seen without privilege"
        except OSError:  # it has ended
            continue
        if not left or len(found) == len(inodes):
            break
    return found, unseen


def _name(pid: str) -> str:
    """Return what a process calls itself, which may be anything, as something that can be printed."""
    name = (_PROC / pid / "comm").read_text(encoding="utf-8", errors="backslashreplace").rstrip("\n")
    return name if name.isprintable() else ascii(name)
