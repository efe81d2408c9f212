"""What the package needs on Linux, and what it says where neither netlink nor ifaddr is there."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from aiomcast import ALL_INTERFACES, RefusedError, list_interfaces
from aiomcast.errors import NoSuchInterfaceError
from aiomcast.system.interfaces import find_interface, find_interfaces
from tests.support.sandbox import apart, needs_seccomp, without_sockets_of
from tests.support.sending import LO

ALONE = """
import sys

for name in ("ifaddr", "rich", "uvloop"):
    sys.modules[name] = None  # to import it is a ModuleNotFoundError

import aiomcast, aiomcast.testing

print(*(one.name for one in aiomcast.list_interfaces()))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere ifaddr is needed")
def test_the_library_needs_attrs_alone() -> None:
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    assert "lo" in done.stdout.split()


@needs_seccomp
def test_without_netlink_and_ifaddr(monkeypatch: pytest.MonkeyPatch) -> None:
    """One is found by its name or index; what a list is needed for is refused, and says what to do."""
    monkeypatch.setitem(sys.modules, "ifaddr", None)

    def look() -> None:
        with pytest.raises(OSError, match="not supported"):
            socket.if_nameindex()  # the C library's own list, which ifaddr's comes from too
        for wanted in ("lo", LO):
            found = find_interface(wanted)
            assert (found.index, found.name, found.is_loopback, found.addresses) == (LO, "lo", True, ())
        for ask in (
            list_interfaces,
            lambda: find_interface("127.0.0.1"),
            lambda: find_interfaces(ALL_INTERFACES),
        ):
            with pytest.raises(RefusedError, match="neither netlink nor the package ifaddr") as caught:
                ask()
            assert "give a name or an index" in caught.value.hint
        with pytest.raises(NoSuchInterfaceError):
            find_interface("nosuch0")

    apart(lambda: without_sockets_of(socket.AF_NETLINK), look)


@needs_seccomp
def test_ifaddr_tells_nothing_where_netlink_does_not() -> None:
    """So it is not installed on Linux: what it asks, getifaddrs(3), asks netlink."""
    ifaddr = pytest.importorskip("ifaddr")

    def look() -> None:
        with pytest.raises(OSError, match="not supported"):
            list(ifaddr.get_adapters())

    apart(lambda: without_sockets_of(socket.AF_NETLINK), look)
