"""What the code makes of the facts of other platforms, as far as this system lets them be tried."""

import errno
import socket
from typing import Any

import attrs
import pytest

import aiomcast
from aiomcast.errors import UnsupportedError
from aiomcast.rfc3678 import limits, refusals, shortage
from aiomcast.rfc3678.abi import native
from aiomcast.rfc3678.abi.facts import Setting
from aiomcast.system import asking, interfaces, sharing, sockets
from aiomcast.system.netlink import Netlink
from tests.support.platforms import linux_only

ABI = native()
pytestmark = linux_only  # which has all that others lack


def having(**facts: Any) -> Any:
    """Return the table of this platform with other facts."""
    return attrs.evolve(ABI, facts=attrs.evolve(ABI.facts, **facts))


@pytest.mark.parametrize(("group", "wildcard"), [("239.77.1.2", "0.0.0.0"), ("ff31::77", "::")])
def test_where_a_socket_is_bound(group: str, wildcard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for binds, host in ((True, group), (False, wildcard)):
        monkeypatch.setattr(sockets, "ABI", having(binds_to_group=binds))
        with aiomcast.open_socket(group, 5000, "lo") as opened:
            assert opened.getsockname()[0] == host


@pytest.mark.parametrize("reuse", [True, False])
def test_how_a_port_is_shared(reuse: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "ABI", having(reuse_port=reuse, reuse_port_groups=False))
    with aiomcast.open_socket("239.77.1.3", 5000, "lo") as opened:
        assert bool(opened.getsockopt(socket.SOL_SOCKET, ABI.SO_REUSEPORT or 0)) is reuse


def test_interfaces_whose_flags_cannot_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def without() -> Netlink:
        raise UnsupportedError("this system has none")

    monkeypatch.setattr(asking, "Netlink", without)
    assert {one.multicast for one in interfaces.list_interfaces()} <= {True, False}
    monkeypatch.setattr(asking, "ABI", attrs.evolve(ABI, SIOCGIFFLAGS=None))
    assert {one.multicast for one in interfaces.list_interfaces()} == {None}


@pytest.mark.parametrize(
    ("setting", "limit"),
    [(Setting(None, None), None), (Setting("net.nosuch", 128), 128), (Setting(None, 7), 7)],
)
def test_the_limit_of_sources(setting: Setting, limit: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ABI", having(sources_ipv4=setting))
    assert limits.source_limit("239.1.1.1") == limit
    assert limits.source_limit("ff0e::1") is not None


def test_which_limits_a_refusal_can_mean(any_group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = socket.inet_aton(any_group)
    with aiomcast.open_socket(any_group, 5000, "lo") as opened:
        known = shortage.of_join(opened, packed)
        assert {one.sysctl for one in known.limits} == {
            "net.ipv4.igmp_max_memberships",
            "net.core.optmem_max",
        }
        monkeypatch.setattr(shortage, "ABI", having(groups_ipv4_sysctl=None, option_memory_sysctl=None))
        assert shortage.of_join(opened, packed).limits == ()


@pytest.mark.parametrize("hides", [True, False])
def test_where_a_sysctl_is_to_be_raised(hides: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "ABI", having(hides_sysctls=hides))
    met = refusals.Shortage((refusals.Limit("sources", 128, "net.nosuch"),))
    error = refusals.refusal(OSError(errno.ENOBUFS, "full"), "joining", lambda: met)
    assert ("network namespace" in error.hint) is hides
