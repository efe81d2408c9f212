"""Sharing a port with one who shares by SO_REUSEPORT alone. What comes to whom is in `tests/lab`."""

import errno
import socket
import sys

import pytest

from aiomcast import open_socket
from aiomcast.system.sharing import device_of
from tests.support.sandbox import apart, without_privilege
from tests.support.sending import LO

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it is Linux that makes groups")


def sharer(family: int, port: int = 0) -> socket.socket:
    """Return a socket on the wildcard address that has set SO_REUSEPORT alone."""
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
    except BaseException:
        sock.close()
        raise
    return sock


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
def test_it_takes_no_privilege(family: int, any_group: str, group6: str) -> None:
    def share() -> None:
        with sharer(family) as there:
            port = there.getsockname()[1]
            group = group6 if family == socket.AF_INET6 else any_group
            with open_socket(group, port, "lo") as one, open_socket(group, port, "lo") as other:
                assert device_of(one) == device_of(other) == LO

    apart(without_privilege, share)


def test_a_socket_is_bound_to_its_interface_only_where_it_has_to_be(any_group: str) -> None:
    with open_socket(any_group, 5000, "lo") as sock:
        assert device_of(sock) == 0
        with sharer(socket.AF_INET, 5000):  # afterwards
            pass


def test_who_shares_so_and_comes_after_another_is_refused(any_group: str) -> None:
    with sharer(socket.AF_INET) as there:
        port = there.getsockname()[1]
        with open_socket(any_group, port, "lo"), pytest.raises(OSError, match="in use") as caught:
            sharer(socket.AF_INET, port)
        assert caught.value.errno == errno.EADDRINUSE
