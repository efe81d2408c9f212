"""FreeBSD's limits, and what its refusals mean: by its own names."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Callable, Iterator

import pytest

from aiomcast import InterfaceGoneError, LimitError, RefusedError, SourceFilter
from aiomcast.rfc3678 import calls, limits
from tests.support.bsd_host import BsdHost, in_place
from tests.support.bsd_model import BsdLimits
from tests.support.seam import refusal

GROUP = {4: "239.1.1.1", 6: "ff15::1:1"}
NAME = {4: "net.inet.ip.mcast", 6: "net.inet6.ip6.mcast"}

both = pytest.mark.parametrize("family", [4, 6])


def source(family: int, number: int) -> str:
    return f"198.51.{number // 250}.{number % 250 + 1}" if family == 4 else f"2001:db8::{number + 1:x}"


def listing(family: int, first: int, count: int) -> SourceFilter:
    return SourceFilter.include({source(family, first + number) for number in range(count)})


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> BsdHost:
    made = BsdHost(socket_limits=BsdLimits(groups=8))
    in_place(monkeypatch, made)
    return made


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        yield made


def join(sock: socket.socket, family: int, first: int, count: int) -> None:
    """Be a member with a list of sources."""
    calls.join_source_group(sock, 2, GROUP[family], source(family, first))
    if count > 1:
        calls.setsourcefilter(sock, 2, GROUP[family], listing(family, first, count))


@both
def test_a_socket_takes_half_of_what_one_call_lists(family: int, host: BsdHost) -> None:
    group, setting = GROUP[family], f"{NAME[family]}.maxsocksrc"
    assert limits.source_sysctl(group) == setting
    assert (limits.most_sources(group), limits.source_limit(group)) == (128, 64)
    host.sysctls[setting] = 300
    assert (limits.most_sources(group), limits.source_limit(group)) == (300, 150)
    host.sysctls[setting] = 1
    assert limits.source_limit(group) == 1
    del host.sysctls[setting]
    assert limits.source_limit(group) == 64


@both
def test_a_list_too_long_for_one_call(family: int, host: BsdHost, sock: socket.socket) -> None:
    join(sock, family, 0, 128)
    with pytest.raises(LimitError) as caught:
        calls.setsourcefilter(sock, 2, GROUP[family], listing(family, 0, 129))
    error = caught.value
    assert (error.errno, error.value, error.sysctl) == (errno.ENOBUFS, 128, f"{NAME[family]}.maxsocksrc")
    assert error.limit == "sources per group and socket"


@both
def test_old_and_new_list_together_are_too_long(family: int, host: BsdHost, sock: socket.socket) -> None:
    join(sock, family, 0, 128)
    with pytest.raises(LimitError) as caught:
        calls.setsourcefilter(sock, 2, GROUP[family], listing(family, 1, 128))
    error = caught.value
    assert (error.errno, error.value, error.sysctl) == (errno.ENOSPC, 128, f"{NAME[family]}.maxsocksrc")
    assert "before and after" in error.limit
    assert calls.getsourcefilter(sock, 2, GROUP[family]) == listing(family, 0, 128)


@both
def test_what_other_processes_list_can_be_the_reason(
    family: int, host: BsdHost, sock: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    join(sock, family, 0, 1)

    def refuse(*arguments: object) -> None:
        raise refusal(errno.ENOSPC)

    monkeypatch.setattr(host, "set_filter", refuse)
    with pytest.raises(LimitError) as caught:
        calls.setsourcefilter(sock, 2, GROUP[family], listing(family, 0, 2))
    assert f"({NAME[family]}.maxgrpsrc, now 512)" in caught.value.hint


@both
def test_a_list_that_is_longer_than_what_is_told(family: int, host: BsdHost, sock: socket.socket) -> None:
    for number in range(129):
        calls.join_source_group(sock, 2, GROUP[family], source(family, number))
    with pytest.raises(LimitError, match="129 sources, of which the system lists 128") as caught:
        calls.getsourcefilter(sock, 2, GROUP[family])
    assert caught.value.sysctl == f"{NAME[family]}.maxsocksrc"
    calls.leave_source_group(sock, 2, GROUP[family], source(family, 0))
    assert calls.getsourcefilter(sock, 2, GROUP[family]) == listing(family, 1, 128)


@both
def test_too_many_groups(family: int, host: BsdHost, sock: socket.socket) -> None:
    base = {4: "239.2.1.", 6: "ff15::2:"}[family]
    for number in range(8):
        calls.join_group(sock, 2, f"{base}{number}")
    attempts: list[Callable[[], None]] = [
        lambda: calls.join_group(sock, 2, f"{base}9"),
        lambda: calls.join_source_group(sock, 2, f"{base}9", source(family, 1)),
    ]
    for refused in attempts:
        with pytest.raises(RefusedError) as caught:
            refused()
        assert caught.value.errno == errno.ENOMEM
        assert "groups per socket (4095)" in caught.value.hint


@both
def test_an_interface_that_is_gone_is_looked_up(family: int, host: BsdHost, sock: socket.socket) -> None:
    group = GROUP[family]
    join(sock, family, 0, 1)
    host.interfaces = (3,)
    attempts: list[Callable[[], None]] = [
        lambda: calls.setsourcefilter(sock, 2, group, listing(family, 0, 2)),
        lambda: calls.leave_group(sock, 2, group),
        lambda: calls.join_group(sock, 2, group),
        lambda: calls.join_source_group(sock, 2, group, source(family, 0)),
    ]
    for call in attempts:
        with pytest.raises(InterfaceGoneError) as caught:
            call()
        assert caught.value.errno == errno.EADDRNOTAVAIL
    with pytest.raises(RefusedError) as refused:
        calls.leave_group(sock, 3, group)
    assert not isinstance(refused.value, InterfaceGoneError)


@both
def test_no_hint_names_what_is_linux_own(
    family: int, host: BsdHost, sock: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    join(sock, family, 0, 1)

    def refuse(*arguments: object) -> None:
        raise refusal(number)

    monkeypatch.setattr(host, "setsockopt", refuse)
    monkeypatch.setattr(host, "set_filter", refuse)
    group, one = GROUP[family], source(family, 1)
    for number in errno.errorcode:  # noqa: B007  `refuse` looks at it
        attempts: list[Callable[[], None]] = [
            lambda: calls.join_group(sock, 2, group),
            lambda: calls.join_source_group(sock, 2, group, one),
            lambda: calls.leave_source_group(sock, 2, group, one),
            lambda: calls.setsourcefilter(sock, 2, group, listing(family, 0, 2)),
        ]
        for call in attempts:
            with pytest.raises(RefusedError) as caught:
                call()
            assert not re.search(r"net\.(ipv4|ipv6|core)|namespace|optmem|None", caught.value.hint)
