"""What the sockets of a process hold together: never more sources than a host has room for."""

from __future__ import annotations

import errno
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

import aiomcast
from aiomcast import LimitError, SourceFilter
from aiomcast.rfc3678 import calls, holdings, limits
from aiomcast.rfc3678.abi import FREEBSD, MACOS, TABLES, native
from aiomcast.rfc3678.holdings import Holdings, Place, added, left, replaced
from aiomcast.values.addresses import pack
from tests.support.bsd_host import BsdHost, in_place
from tests.support.seam import refusal

GROUP = {4: "239.1.1.1", 6: "ff15::1:1"}
PLACE = Place(2, pack(GROUP[4]))

both = pytest.mark.parametrize("family", [4, 6])


def sources(family: int, first: int, count: int) -> SourceFilter:
    texts = ("198.51.{}.{}", "2001:db8::{:x}:{:x}")
    form = texts[family == 6].format
    return SourceFilter.include(
        {form(number // 250, number % 250 + 1) for number in range(first, first + count)}
    )


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> BsdHost:
    made = BsdHost()
    in_place(monkeypatch, made)
    return made


@pytest.fixture
def eight(host: BsdHost, family: int) -> Iterator[list[socket.socket]]:
    """Give sockets that hold all there is room for, 64 each."""
    with ExitStack() as stack:
        opened = [stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)) for _ in range(8)]
        for number, sock in enumerate(opened):
            hold(sock, family, 64 * number, 64)
        yield opened


def hold(sock: socket.socket, family: int, first: int, count: int) -> None:
    wanted = sources(family, first, count)
    calls.join_source_group(sock, 2, GROUP[family], min(wanted.sources))
    if count > 1:
        calls.setsourcefilter(sock, 2, GROUP[family], wanted)


def test_nothing_is_kept_where_there_is_no_such_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (holdings.of_process is None) is (native() not in (FREEBSD, MACOS))
    monkeypatch.setattr(holdings, "of_process", None)
    assert holdings.join_wait(GROUP[4], [1, 2]) == 0.0
    for table in TABLES:
        monkeypatch.setattr(holdings, "ABI", table)
        assert holdings._is_needed() is (table in (FREEBSD, MACOS))


@both
def test_the_513th_source_is_refused_before_the_call(
    family: int, host: BsdHost, eight: list[socket.socket]
) -> None:
    made, group = len(host.made), GROUP[family]
    one_more = min(sources(family, 512, 1).sources)
    with socket.socket(type=socket.SOCK_DGRAM) as fresh, socket.socket(type=socket.SOCK_DGRAM) as excluding:
        calls.join_group(excluding, 2, group)
        attempts: list[Callable[[], None]] = [
            lambda: calls.join_source_group(fresh, 2, group, one_more),
            lambda: calls.join_source_group(eight[0], 2, group, one_more),
            lambda: calls.setsourcefilter(
                eight[0], 2, group, sources(family, 0, 64) | sources(family, 512, 1)
            ),
            lambda: calls.setsourcefilter(eight[0], 2, group, sources(family, 512, 1)),
            lambda: calls.block_source(excluding, 2, group, one_more),
            lambda: calls.setsourcefilter(excluding, 2, group, SourceFilter.exclude({one_more})),
        ]
        for call in attempts:
            with pytest.raises(LimitError) as caught:
                call()
            error = caught.value
            assert (error.errno, error.value) == (errno.ENOSPC, 512)
            assert error.sysctl == f"net.inet{'6' * (family == 6)}.ip{'6' * (family == 6)}.mcast.maxgrpsrc"
        assert len(host.made) == made + 1
        # What somebody holds already, and another group or interface, is free.
        calls.join_source_group(fresh, 2, group, min(sources(family, 0, 1).sources))
        calls.join_source_group(fresh, 3, group, one_more)
        calls.setsourcefilter(excluding, 2, group, SourceFilter.exclude(sources(family, 0, 64).sources))
    calls.setsourcefilter(eight[0], 2, group, sources(family, 0, 63))
    assert len(host.sources(2, group)) == 511
    calls.setsourcefilter(eight[0], 2, group, sources(family, 0, 63) | sources(family, 512, 1))


@both
@pytest.mark.parametrize("how", ["leave", "close", "forget", "drop one"])
def test_what_is_given_up_can_be_had(
    how: str, family: int, host: BsdHost, eight: list[socket.socket]
) -> None:
    wanted = sources(family, 512, 1)
    if how == "leave":
        calls.leave_group(eight[0], 2, GROUP[family])
    elif how == "close":
        eight[0].close()
    elif how == "forget":
        eight[0].detach()
    else:
        calls.leave_source_group(eight[0], 2, GROUP[family], min(sources(family, 0, 1).sources))
    with socket.socket(type=socket.SOCK_DGRAM) as fresh:
        hold(fresh, family, 512, 1)
        assert calls.getsourcefilter(fresh, 2, GROUP[family]) == wanted


@both
def test_the_limit_is_the_sysctl(family: int, host: BsdHost, eight: list[socket.socket]) -> None:
    host.sysctls[f"net.inet{'6' * (family == 6)}.ip{'6' * (family == 6)}.mcast.maxgrpsrc"] = 100
    assert limits.host_source_limit(GROUP[family]) == 100
    with pytest.raises(LimitError, match="on one interface"):
        calls.setsourcefilter(eight[0], 2, GROUP[family], sources(family, 600, 1))


def test_the_ipv4_calls_by_address_count_too(host: BsdHost, monkeypatch: pytest.MonkeyPatch) -> None:
    host.sysctls["net.inet.ip.mcast.maxgrpsrc"] = 2
    made: list[object] = []
    monkeypatch.setattr(host, "setsockopt", lambda *arguments: made.append(arguments))
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as other:
        calls.add_source_membership(one, "192.0.2.1", GROUP[4], "198.51.100.1")
        calls.add_membership(other, "192.0.2.1", GROUP[4])
        calls.block_ipv4_source(other, "192.0.2.1", GROUP[4], "198.51.100.2")
        for call in (calls.block_ipv4_source, calls.add_source_membership):
            with pytest.raises(LimitError):
                call(other, "192.0.2.1", GROUP[4], "198.51.100.3")
        with pytest.raises(LimitError):
            calls.setipv4sourcefilter(one, "192.0.2.1", GROUP[4], sources(4, 0, 1))
        assert len(made) == 3
        calls.unblock_ipv4_source(other, "192.0.2.1", GROUP[4], "198.51.100.2")
        calls.add_source_membership(one, "192.0.2.1", GROUP[4], "198.51.100.3")
        calls.drop_source_membership(one, "192.0.2.1", GROUP[4], "198.51.100.3")
        calls.drop_membership(one, "192.0.2.1", GROUP[4])
        calls.block_ipv4_source(other, "192.0.2.1", GROUP[4], "198.51.100.4")
        calls.block_ipv4_source(other, "192.0.2.1", GROUP[4], "198.51.100.5")


@both
def test_the_librarys_sockets(family: int, host: BsdHost, eight: list[socket.socket]) -> None:
    """A filter that is refused for it leaves the one before, and closing gives it back."""
    interface = aiomcast.Interface(
        2, "em0", (), multicast=True, is_up=True, is_running=True, is_loopback=False
    )
    eight[7].close()
    kept = sources(family, 448, 60)
    with aiomcast.open_socket(GROUP[family], 5000, interface) as sock:
        sock.set_filter(kept)
        with pytest.raises(LimitError):
            sock.set_filter(sources(family, 600, 10))
        assert sock.filter == sock.kernel_filter() == kept
    with socket.socket(type=socket.SOCK_DGRAM) as other:
        hold(other, family, 600, 64)


class Interrupted(BaseException):
    """What a signal handler raises."""


def test_what_becomes_of_a_call(monkeypatch: pytest.MonkeyPatch, host: BsdHost) -> None:
    host.sysctls["net.inet.ip.mcast.maxgrpsrc"] = 2
    held = Holdings(0.0)
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as other:
        with held.changing(one, PLACE, replaced(sources(4, 0, 1).sources)):
            pass
        with (
            pytest.raises(OSError, match="refused"),
            held.changing(one, PLACE, replaced(sources(4, 1, 1).sources)),
        ):
            raise OSError(errno.ENOBUFS, "refused")
        with held.changing(other, PLACE, added(pack("198.51.100.1"))):  # it has come to hold nothing else
            pass
        with held.changing(other, PLACE, left()):
            pass
        with pytest.raises(Interrupted), held.changing(one, PLACE, replaced(sources(4, 1, 1).sources)):
            raise Interrupted
        with pytest.raises(LimitError), held.changing(other, PLACE, added(pack("198.51.100.1"))):
            raise AssertionError("it is not known which of both it holds")
        with held.changing(one, PLACE, replaced(sources(4, 1, 1).sources)):
            pass
        with held.changing(other, PLACE, added(pack("198.51.100.1"))):
            pass


def test_sockets_of_several_threads(host: BsdHost) -> None:
    held = Holdings(0.0)
    guard, together = threading.Lock(), dict[int, frozenset[str]]()
    most, refused, failed = [0], [0], list[BaseException]()

    def swap(seed: int) -> None:
        draw, kept = random.Random(seed), frozenset[str]()
        try:
            with socket.socket(type=socket.SOCK_DGRAM) as sock:
                for _ in range(400):
                    wanted = sources(4, draw.randrange(1500), 60).sources
                    try:
                        with held.changing(sock, PLACE, replaced(wanted)), guard:
                            together[seed] = kept | wanted
                            most[0] = max(most[0], len(frozenset().union(*together.values())))
                            together[seed] = kept = wanted
                    except LimitError:
                        refused[0] += 1
                with held.changing(sock, PLACE, left()), guard:
                    del together[seed]
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=swap, args=(seed,)) for seed in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert refused[0] > 0
    assert most[0] <= 512
    assert not held._held


def test_what_may_have_to_be_put_back_is_kept_from_other_threads(host: BsdHost) -> None:
    host.sysctls["net.inet.ip.mcast.maxgrpsrc"] = 2
    held, first, second = Holdings(0.0), sources(4, 0, 1).sources, sources(4, 1, 1).sources
    outcomes: list[str] = []

    def elsewhere() -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as other:
            try:
                with held.changing(other, PLACE, replaced(sources(4, 2, 1).sources)):
                    outcomes.append("made")
            except LimitError:
                outcomes.append("refused")

    def try_elsewhere() -> None:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()

    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        with held.changing(sock, PLACE, replaced(first)):
            pass
        with held.keeping():
            with held.changing(sock, PLACE, replaced(second)):
                pass
            try_elsewhere()
            with held.changing(sock, PLACE, replaced(first)):  # undone
                pass
            with held.changing(sock, PLACE, replaced(sources(4, 5, 1).sources)):  # its own is no hindrance
                pass
        try_elsewhere()
    assert outcomes == ["refused", "made"]


def test_what_was_closed_without_a_word_has_left_now() -> None:
    now = [100.0]
    held = Holdings(0.25, lambda: now[0])
    sock = socket.socket(type=socket.SOCK_DGRAM)
    with held.changing(sock, PLACE, added()):
        pass
    assert held.wait(PLACE) == 0.0
    sock.close()
    now[0] += 10
    assert held.wait(PLACE) == pytest.approx(0.25)
    now[0] += 0.2
    assert held.wait(PLACE) == pytest.approx(0.05)
    now[0] += 0.1
    assert held.wait(PLACE) == 0.0


def test_a_socket_may_be_closed_at_any_moment() -> None:
    """A collection closes what nobody holds wherever it runs, also within."""
    now = [100.0]
    held = Holdings(0.25, lambda: now[0])
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as other:
        for sock in (one, other):
            with held.changing(sock, PLACE, added()):
                pass

        def close(before: object) -> None:
            held.closed(one)

        with held.changing(other, PLACE, close):
            pass
        now[0] += 0.1
        assert held.wait(PLACE) == pytest.approx(0.15)


def test_the_last_of_several_is_waited_for() -> None:
    now = [100.0]
    held = Holdings(0.25, lambda: now[0])
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as other:
        for sock in (one, other):
            with held.changing(sock, PLACE, added()):
                pass
        with held.changing(one, PLACE, left()):
            pass
        assert held.wait(PLACE) == 0.0  # another is a member still
        now[0] += 5
        with pytest.raises(OSError, match="assign"), held.changing(other, PLACE, left()):
            raise refusal(errno.EADDRNOTAVAIL)  # the kernel has forgotten it
        assert held.wait(PLACE) == pytest.approx(0.25)
        assert held.wait(Place(3, PLACE.group)) == 0.0
        with held.changing(one, PLACE, added()):
            pass
        assert held.wait(PLACE) == 0.0
        held.closed(one)
        assert held.wait(PLACE) == pytest.approx(0.25)
