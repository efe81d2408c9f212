"""The commonest swaps take one call and no plan; what is refused or interrupted there ends as elsewhere."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable

import pytest

import aiomcast
from aiomcast import InconsistentError, Receiver, RefusedError, SourceFilter
from aiomcast.receiving import changes
from aiomcast.rfc3678 import kernel
from aiomcast.system.sockets import MulticastSocket
from tests.support.inside import readers_of, shards_of
from tests.support.platforms import IS_WINDOWS
from tests.support.seam import Faults, changes_intercepted, faults
from tests.support.sending import A, B, C, sending

__all__ = ["faults"]

include, exclude = SourceFilter.include, SourceFilter.exclude
PORT = 5000

# (filter before, sources after) of one membership: what takes one call
STRAIGHT: list[tuple[SourceFilter, aiomcast.Sources]] = [
    (include([A, B]), [B, C]),
    (include([A]), {A, B}),
    (include([A, B]), [A]),
    (exclude([A]), exclude([B])),
]
# and what takes more, or nothing
WHOLE: list[tuple[SourceFilter, aiomcast.Sources]] = [
    (include([A]), include([A])),
    (include([A]), []),
    (SourceFilter.none(), [A]),
    (include([A]), exclude([A])),
    (SourceFilter.any(), exclude([A])),
    (exclude([A]), None),
]
MANY = [f"127.0.1.{number}" for number in range(1, 26)]
if not IS_WINDOWS:  # where a socket holds any number
    WHOLE += [(include([A]), MANY), (include(MANY), [A, B])]


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What has been planned: each change that went through the whole of it."""
    seen: list[object] = []
    begin = changes.Change.open

    def opened(self: changes.Change) -> None:
        seen.append(self)
        begin(self)

    monkeypatch.setattr(changes.Change, "open", opened)
    return seen


@pytest.mark.parametrize(("before", "after"), STRAIGHT)
async def test_a_swap_from_list_to_list_is_one_call(
    before: SourceFilter, after: aiomcast.Sources, any_group: str, planned: list[object], faults: Faults
) -> None:
    async with Receiver() as receiver:
        one = await receiver.join(any_group, PORT, sources=before, interface="lo")
        planned.clear()
        faults.stop()
        faults.calls = 0
        await one.swap(after)
        assert (faults.calls, planned) == (1, [])
        assert one.filter == one.kernel_filter() != before
        with sending(A, any_group, PORT) as a, sending(B, any_group, PORT) as b:
            a.send(b"a")
            b.send(b"b")
            expected = [source for source in (A, B) if one.filter.allows(source)]
            stream = one.packets()
            async with asyncio.timeout(10):
                assert [(await anext(stream)).source for _ in expected] == expected
            assert len(stream) == 0


@pytest.mark.parametrize(("before", "after"), WHOLE)
async def test_others_are_planned(
    before: SourceFilter, after: aiomcast.Sources, any_group: str, planned: list[object]
) -> None:
    async with Receiver() as receiver:
        one = await receiver.join(any_group, PORT, sources=before, interface="lo")
        planned.clear()
        await one.swap(after)
        assert planned
        assert one.filter == one.kernel_filter()


async def test_pending_deliver_is_planned(any_group: str, planned: list[object]) -> None:
    async with Receiver() as receiver:
        one = await receiver.join(any_group, PORT, sources=[A], interface="lo")
        planned.clear()
        await one.swap([B], pending="deliver")
        assert planned


@pytest.mark.parametrize("failing", [1, 2, 3, 4])
async def test_one_of_several_that_is_refused_changes_none(
    failing: int, any_group: str, planned: list[object], faults: Faults
) -> None:
    """Refused where no plan was made yet; what was set before it is put back."""
    before = [include([A]), include([A, B]), exclude([A])]
    wanted = [include([B]), include([B]), exclude([B, C])]
    async with Receiver() as receiver, receiver.events() as events:
        ones = [
            await receiver.join(any_group, PORT + number, sources=sources, interface="lo")
            for number, sources in enumerate(before)
        ]
        told = len(events)
        planned.clear()
        order: list[MulticastSocket] = []
        faults.fail_at(failing, errno.ENOMEM)
        with changes_intercepted(lambda sock, *_: order.append(sock)):
            change = receiver.filters.apply(dict(zip(ones, wanted, strict=True)))
            if failing > len(ones):
                await change
                before = wanted
            else:
                with pytest.raises(RefusedError) as caught:
                    await change
                assert caught.value.errno == errno.ENOMEM
                assert caught.value.detail.startswith("lo: setting ")
        assert planned == []
        # What only takes away cannot be refused: it is the last.
        sockets = [readers_of(one)[0].sock for one in ones]
        assert order[:failing] == [sockets[0], sockets[2], sockets[1]][:failing]
        assert len(order) == (3 if failing > 3 else 2 * failing - 1)
        assert [one.filter for one in ones] == before == [one.kernel_filter() for one in ones]
        assert len(events) - told == (3 if failing > 3 else 0)


async def test_what_cannot_be_put_back_is_told(any_group: str, faults: Faults) -> None:
    async with Receiver() as receiver:
        ones = [await receiver.join(any_group, PORT + n, sources=[A], interface="lo") for n in range(2)]
        faults.fail(lambda call: call > 1)
        with pytest.raises(InconsistentError) as caught:
            await receiver.filters.apply(dict.fromkeys(ones, include([B])))
        faults.stop()
        assert isinstance(caught.value.__cause__, RefusedError)
        await receiver.filters.apply(dict.fromkeys(ones, include([C])))
        assert [one.kernel_filter() for one in ones] == [include([C])] * 2


async def test_a_limit_that_was_lowered_spreads_it(
    any_group: str, planned: list[object], faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Receiver() as receiver:
        one = await receiver.join(any_group, PORT, sources=[A], interface="lo")
        two = await receiver.join(any_group, PORT + 1, sources=[A], interface="lo")
        planned.clear()
        for shards in (shards_of(one), shards_of(two)):
            monkeypatch.setattr(shards._limit._network, "source_limit", lambda group: 2, raising=False)
        faults.fail_at(2)  # of the second membership, when the first is set
        await receiver.filters.apply({one: [B, C], two: [A, B, C]})
        faults.stop()
        assert len(planned) == 2
        assert [len(readers_of(each)) for each in (one, two)] == [1, 2]
        assert [one.kernel_filter(), two.kernel_filter()] == [include([B, C]), include([A, B, C])]


class Interrupt(BaseException):
    """What a signal handler raises."""


@pytest.mark.skipif(IS_WINDOWS, reason="filters are set by another call there")
@pytest.mark.parametrize("is_made", [True, False])
async def test_an_interrupted_call_is_looked_at(
    is_made: bool, any_group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been made and not been noted: what was there is put back."""
    real: Callable[..., None] = kernel.setsockopt
    async with Receiver() as receiver:
        ones = [await receiver.join(any_group, PORT + n, sources=[A], interface="lo") for n in range(2)]
        calls: list[object] = []

        def raising(sock: MulticastSocket, *arguments: object) -> None:
            calls.append(sock)
            if len(calls) != 2 or is_made:
                real(sock, *arguments)
            if len(calls) == 2:
                raise Interrupt

        monkeypatch.setattr(kernel, "setsockopt", raising)
        with pytest.raises(Interrupt):
            await receiver.filters.apply(dict.fromkeys(ones, include([B, C])))
        assert [one.kernel_filter() for one in ones] == [include([A])] * 2
        assert [one.filter for one in ones] == [include([A])] * 2
        await receiver.filters.apply(dict.fromkeys(ones, include([B])))
        assert [one.kernel_filter() for one in ones] == [include([B])] * 2


async def test_a_socket_that_holds_something_else_is_planned(any_group: str, planned: list[object]) -> None:
    """As one that has left to join again: it is no member, and no list of it can be replaced."""
    async with Receiver() as receiver:
        one = await receiver.join(any_group, PORT, sources=[A], interface="lo")
        planned.clear()
        shards_of(one).withdraw()
        await one.swap([B])
        assert planned
        assert one.filter == one.kernel_filter() == include([B])
