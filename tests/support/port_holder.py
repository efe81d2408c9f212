"""Another program on a port: it says "bound", or why it is not, and then all that it receives."""

from __future__ import annotations

import argparse
import os
import socket
import struct
import sys
from collections.abc import Collection
from contextlib import suppress

__all__ = ["BOUND", "CAN_BE_NOBODY", "NOBODY", "OPTIONS", "command"]

BOUND = b"bound\n"
OPTIONS = [(), ("SO_REUSEADDR",), ("SO_REUSEPORT",), ("SO_REUSEADDR", "SO_REUSEPORT")]
NOBODY = 65534  # a user id that no test is run with


def _can_be_nobody() -> bool:
    if sys.platform == "win32":
        return False
    with suppress(OSError), open("/proc/self/uid_map", encoding="ascii") as file:
        maps = [[int(field) for field in line.split()] for line in file]
        return os.geteuid() == 0 and any(first <= NOBODY < first + count for first, _, count in maps)
    return False


CAN_BE_NOBODY = _can_be_nobody()
"""Whether a program can be started with that user id: by root, where there is such a user."""


def command(
    address: str,
    port: int,
    options: Collection[str] = (),
    *,
    joins: tuple[str, str] | None = None,
    dual: bool = False,
    uid: int | None = None,
) -> list[str]:
    """Return how to start one that binds to `address` and `port` with these options of SOL_SOCKET.

    It joins a group on an interface, if `joins` names them, takes a user id, if there is one, and lets IPv4
    into a socket of IPv6 if it is `dual`. It goes on until it is ended.
    """
    started = [sys.executable, __file__, address, str(port), *options]
    if joins is not None:
        started += ["--joins", *joins]
    return started + ["--dual"] * dual + ([] if uid is None else ["--uid", str(uid)])


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("options", nargs="*")
    parser.add_argument("--joins", nargs=2)
    parser.add_argument("--dual", action="store_true")
    parser.add_argument("--uid", type=int)
    given = parser.parse_args()
    if given.uid is not None:
        os.setuid(given.uid)
    six = ":" in given.address
    sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
    if six:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not given.dual)
    for option in given.options:
        sock.setsockopt(socket.SOL_SOCKET, getattr(socket, option), 1)
    try:
        sock.bind((given.address, given.port))
    except OSError as error:
        print(error.strerror)
        return
    if given.joins is not None:
        group, interface = given.joins
        packed, index = socket.inet_pton(sock.family, group), socket.if_nametoindex(interface)
        if six:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, struct.pack("=16si", packed, index))
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, struct.pack("=4s4xi", packed, index))
    os.write(1, BOUND)
    while True:
        os.write(1, sock.recv(65536))


if __name__ == "__main__":
    _main()
