"""Swaps: whole or not at all, no leak, no gap, no double, and any number of sources."""

import errno
import sys
import warnings

import pytest

import aiomcast
from aiomcast import AddressError, FilterError, LimitError, SourceFilter, StateError
from tests.loopback.conftest import Senders
from tests.support.accounts import accounted, open_descriptors
from tests.support.inside import readers_of
from tests.support.packets import payloads, take
from tests.support.platforms import needs_source_limit
from tests.support.seam import Faults, faults
from tests.support.sending import A, B, C, D
from tests.support.waiting import turns, until

pytestmark = pytest.mark.usefixtures("network")
ON_SOCKETS = pytest.mark.parametrize("network", ["sockets"], indirect=True)  # refused at their seam

__all__ = ["faults"]

include, exclude = SourceFilter.include, SourceFilter.exclude
MANY = [f"127.0.1.{number}" for number in range(1, 51)]
MSF = 10  # net.ipv4.igmp_max_msf, asked below


@pytest.fixture(autouse=True)
def limit() -> None:
    if sys.platform != "linux":  # it has no such limit
        return
    with open("/proc/sys/net/ipv4/igmp_max_msf", encoding="ascii") as file:
        if int(file.read()) != MSF:
            pytest.skip("igmp_max_msf is not its default here")


@pytest.mark.parametrize("queued_in", ["stream", "kernel"])
@pytest.mark.parametrize("before", [include([A, B]), SourceFilter.any(), exclude([C])])
@pytest.mark.parametrize("after", [include([B, C]), exclude([A])])
async def test_discard_drops_what_a_removed_source_had_sent(
    queued_in: str, before: SourceFilter, after: SourceFilter, any_group: str, senders: Senders
) -> None:
    async with aiomcast.listen(any_group, senders.port, sources=before, interface="lo") as feed:
        stream = feed.packets() if queued_in == "stream" else None
        for number in range(5):
            await senders.send(A, any_group, b"a%d" % number)
            await senders.send(B, any_group, b"b%d" % number)
        if stream is not None:
            listening = stream
            await until(lambda: len(listening) == 10)
        await feed.swap(after)
        assert feed.filter == after == feed.kernel_filter()
        await senders.send(A, any_group, b"a after")
        await senders.send(C, any_group, b"c after")
        await senders.send(B, any_group, b"b after")
        stream = stream or feed.packets()
        expected = [*(b"b%d" % number for number in range(5)), b"c after", b"b after"]
        assert payloads(await take(stream, 7)) == expected
        await turns(20)
        assert len(stream) == 0


@pytest.mark.parametrize("queued_in", ["stream", "kernel"])
@pytest.mark.parametrize("before", [include([A, B]), SourceFilter.any()])
@pytest.mark.parametrize("after", [include([B, C]), exclude([A]), SourceFilter.none()])
async def test_deliver_keeps_what_had_arrived_and_nothing_later(
    queued_in: str, before: SourceFilter, after: SourceFilter, any_group: str, senders: Senders
) -> None:
    async with aiomcast.listen(any_group, senders.port, sources=before, interface="lo") as feed:
        stream = feed.packets() if queued_in == "stream" else None
        await senders.send(A, any_group, b"a1")
        await senders.send(B, any_group, b"b1")
        await senders.send(A, any_group, b"a2")
        if stream is not None:
            listening = stream
            await until(lambda: len(listening) == 3)
        await feed.swap(after, pending="deliver")
        await senders.send(A, any_group, b"late")
        stream = stream or feed.packets()
        assert payloads(await take(stream, 3)) == [b"a1", b"b1", b"a2"]
        await feed.swap([D])
        await senders.send(D, any_group, b"end")
        assert payloads(await take(stream, 1)) == [b"end"]


async def test_pending_is_one_of_two(group: str) -> None:
    async with aiomcast.listen(group, 5000, sources=[A], interface="lo") as feed:
        with pytest.raises(aiomcast.ArgumentError):
            await feed.swap([B], pending="keep")  # type: ignore[arg-type]  # wrong on purpose
        assert feed.kernel_filter() == include([A])


@pytest.mark.parametrize("pending", ["discard", "deliver"])
@pytest.mark.parametrize("sources", [[A], [A, *MANY[:30]], SourceFilter.any()])
async def test_a_stalled_stream_loses_nothing_that_both_filters_allow(
    pending: aiomcast.Pending, sources: aiomcast.Sources, any_group: str, senders: Senders
) -> None:
    """Nobody takes packets while the mode, the list and the number of sockets change."""
    async with aiomcast.listen(
        any_group, senders.port, sources=[A, *MANY[:30]], interface="lo", capacity=4
    ) as feed:
        stream = feed.packets()
        expected = []
        for number, wanted in enumerate([sources, [A], exclude([B]), [A, *MANY]]):
            await senders.send(A, any_group, *[b"%d.%d" % (number, one) for one in range(8)])
            expected += [b"%d.%d" % (number, one) for one in range(8)]
            await feed.swap(wanted, pending=pending)
            await turns(20)
        assert payloads(await take(stream, len(expected))) == expected
        await senders.send(A, any_group, b"end")
        assert payloads(await take(stream, 1)) == [b"end"]
        accounted(feed.statistics(), taken=len(expected) + 1)


@pytest.mark.parametrize("pending", ["discard", "deliver"])
async def test_what_waits_at_a_socket_that_goes_is_delivered(
    pending: aiomcast.Pending, any_group: str, senders: Senders
) -> None:
    """50 sources on 5 sockets, with nobody listening yet; then one socket for all."""
    async with aiomcast.listen(any_group, senders.port, sources=MANY, interface="lo") as feed:
        for source in MANY:
            await senders.send(source, any_group, source.encode())
        for wanted in (SourceFilter.any(), include(MANY[:45]), exclude(MANY[45:])):
            await feed.swap(wanted, pending=pending)
        got = sorted(payloads(await take(aiter(feed), 45 if pending == "discard" else 50)))
        kept = MANY[:45] if pending == "discard" else MANY
        assert got == sorted(source.encode() for source in kept)


async def test_deliver_with_a_stalled_stream_keeps_what_sits_at_a_socket_that_goes(
    group: str, senders: Senders
) -> None:
    async with aiomcast.listen(group, senders.port, sources=MANY[:20], interface="lo", capacity=2) as feed:
        stream = feed.packets()
        await senders.send(MANY[0], group, b"full", b"full")
        await until(lambda: len(stream) == 2)
        for source in MANY[:20]:
            await senders.send(source, group, b"waiting")
        await feed.swap(MANY[:1], pending="deliver")
        assert payloads(await take(stream, 22)) == [b"full"] * 2 + [b"waiting"] * 20


@needs_source_limit
async def test_fifty_sources_come_once_each_and_the_kernel_holds_all(group: str, senders: Senders) -> None:
    async with aiomcast.listen(group, senders.port, sources=MANY, interface="lo") as feed:
        stream = feed.packets()
        assert feed.kernel_filter() == include(MANY)
        assert len(readers_of(feed)) == 5
        for wanted in (MANY, MANY[25:], [MANY[0], *MANY[40:]], MANY):
            await feed.swap(wanted)
            assert feed.kernel_filter() == feed.filter == include(wanted)
            for source in MANY:
                await senders.send(source, group, source.encode())
            assert sorted(payloads(await take(stream, len(wanted)))) == sorted(one.encode() for one in wanted)
            await turns(20)
            assert len(stream) == 0
        await feed.swap(MANY[:1])
        assert len(readers_of(feed)) == 1


@needs_source_limit
async def test_a_long_block_list_warns_once_and_refuses_all_of_it(any_group: str, senders: Senders) -> None:
    async with aiomcast.Receiver() as receiver:
        with pytest.warns(RuntimeWarning, match=r"net\.ipv4\.igmp_max_msf") as caught:
            membership = await receiver.join(
                any_group, senders.port, sources=exclude(MANY[:30]), interface="lo"
            )
        assert len(caught) == 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            await membership.swap(exclude(MANY))
        assert membership.filter == exclude(MANY)
        held = membership.kernel_filter()
        assert (held.mode, len(held.sources)) == (aiomcast.FilterMode.EXCLUDE, MSF)
        for source in [*MANY, A]:
            await senders.send(source, any_group, source.encode())
        assert payloads(await take(aiter(receiver), 1)) == [A.encode()]
        await turns(20)
        assert receiver.statistics().received == 1 + 40 == 1 + receiver.statistics().filtered
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            await membership.swap(exclude(MANY[:MSF]))
        assert membership.kernel_filter() == exclude(MANY[:MSF])


async def test_the_delta_calls(any_group: str) -> None:
    async with aiomcast.Receiver() as receiver:
        one = await receiver.join(any_group, 5000, sources=[A], interface="lo")
        steps = [
            (one.join_source, B, include([A, B])), (one.leave_source, A, include([B])),
            (one.leave_source, B, SourceFilter.none()), (one.join_source, f"::ffff:{C}", include([C])),
            (lambda _: one.swap(SourceFilter.any()), "", SourceFilter.any()),
            (one.block_source, A, exclude([A])), (one.block_source, B, exclude([A, B])),
            (one.unblock_source, A, exclude([B])), (one.unblock_source, B, SourceFilter.any()),
        ]  # fmt: skip
        for call, source, expected in steps:
            await call(source)
            assert one.filter == expected == one.kernel_filter() == receiver.filters[one]


async def test_misused_delta_calls_change_nothing(any_group: str) -> None:
    async with aiomcast.Receiver() as receiver:
        included = await receiver.join(any_group, 5000, sources=[A], interface="lo")
        excluded = await receiver.join(any_group, 5001, sources=exclude([A]), interface="lo")
        for call, source in (
            (included.join_source, A), (included.leave_source, B), (included.block_source, B),
            (included.unblock_source, A), (excluded.join_source, B), (excluded.leave_source, A),
            (excluded.block_source, A), (excluded.unblock_source, B),
        ):  # fmt: skip
            with pytest.raises(FilterError) as caught:
                await call(source)
            assert caught.value.hint
            for wrong in ("::1", "224.0.0.1", "nonsense", "0.0.0.0", None):
                with pytest.raises(AddressError):
                    await call(wrong)  # type: ignore[arg-type]  # wrong on purpose
        assert included.filter == included.kernel_filter() == include([A])
        assert excluded.filter == excluded.kernel_filter() == exclude([A])


@pytest.mark.parametrize("wrong", [None, SourceFilter.any(), exclude([A]), ["::1"], [A, A], A, ["239.0.0.1"]])
async def test_a_wrong_swap_leaves_the_old_filter(wrong: aiomcast.Sources, group: str) -> None:
    listener = aiomcast.listen(group, 5000, sources=[A], interface="lo")
    async with listener as feed:
        events = listener.receiver.events()
        with pytest.raises((AddressError, FilterError)):
            await feed.swap(wrong)
        assert feed.filter == feed.kernel_filter() == include([A])
        assert len(events) == 0


async def test_apply_is_all_or_nothing_for_wrong_arguments(group: str) -> None:
    async with aiomcast.Receiver() as receiver:
        ones = [await receiver.join(group, 5000 + n, sources=[A], interface="lo") for n in range(3)]
        with pytest.raises(AddressError):
            await receiver.filters.apply({ones[0]: [B], ones[1]: None, ones[2]: [C]})
        left = await receiver.join(group, 5009, sources=[A], interface="lo")
        await left.leave()
        with pytest.raises(StateError):
            await receiver.filters.apply({ones[0]: [B], left: [B]})
        for one in ones:
            assert receiver.filters[one] == one.kernel_filter() == include([A])
        await receiver.filters.apply({ones[0]: {B}, ones[1]: set(), ones[2]: [A]})
        assert [receiver.filters[one] for one in ones] == [include([B]), SourceFilter.none(), include([A])]
        assert [one.kernel_filter() for one in ones] == list(receiver.filters.values())


WANTED = {
    "one list to another": (include([A]), include([B, C])), "to more sockets": (include([A]), include(MANY)),
    "to fewer sockets": (include(MANY), include(MANY[20:25])), "to EXCLUDE": (include([A, B]), exclude([C])),
    "to INCLUDE": (exclude([A]), include([B, C])), "to nothing": (include([A]), SourceFilter.none()),
    "from nothing": (SourceFilter.none(), include([A, B])),
    "any to many": (SourceFilter.any(), include(MANY)),
}  # fmt: skip


@pytest.mark.parametrize("change", WANTED)
@pytest.mark.parametrize("number", [errno.ENOBUFS, errno.ENOMEM, errno.ENODEV])
@ON_SOCKETS
async def test_whichever_call_is_refused_everything_stays(
    change: str, number: int, any_group: str, senders: Senders, faults: Faults
) -> None:
    """The k-th call fails, for every k, in a swap of three memberships together."""
    before, after = WANTED[change]
    async with aiomcast.Receiver() as receiver:
        ones = [await receiver.join(any_group, 5000 + n, sources=before, interface="lo") for n in range(3)]
        stream = receiver.packets()
        failing = 0
        while True:
            failing += 1
            descriptors = open_descriptors()
            faults.fail_at(failing, number)
            refused = None
            try:
                await receiver.filters.apply(dict.fromkeys(ones, after))
            except aiomcast.RefusedError as error:
                refused = error
            calls = faults.stop()
            if refused is None:
                assert [one.kernel_filter() for one in ones] == [after] * 3
                if calls < failing:
                    break
                await receiver.filters.apply(dict.fromkeys(ones, before))  # the socket can do without
                continue
            assert refused.errno == number
            assert [one.kernel_filter() for one in ones] == [before] * 3 == list(receiver.filters.values())
            assert open_descriptors() == descriptors
        assert failing > 3
        source = next((one for one in (B, MANY[22]) if after.allows(one)), None)
        if source is not None:
            await senders.send(source, any_group, b"new")
            assert payloads(await take(stream, 1)) == [b"new"]


@ON_SOCKETS
async def test_an_undo_that_is_refused_too_is_said(group: str, faults: Faults) -> None:
    async with aiomcast.Receiver() as receiver:
        ones = [await receiver.join(group, 5000 + n, sources=[A], interface="lo") for n in range(2)]
        faults.fail(lambda call: call > 1)
        with pytest.raises(aiomcast.InconsistentError) as caught:
            await receiver.filters.apply({one: [B] for one in ones})
        faults.stop()
        assert caught.value.hint
        assert ones[1].kernel_filter() == include([A])
        await receiver.filters.apply({one: [C] for one in ones})
        assert [one.kernel_filter() for one in ones] == [include([C])] * 2


async def test_a_refresh_that_is_refused_anywhere_leaves_the_membership(group: str, faults: Faults) -> None:
    for sources in ([A], [A, B], MANY[:15]):
        async with aiomcast.listen(group, 5000, sources=sources, interface="lo") as feed:
            faults.fail(lambda call: False)
            await feed.refresh()
            for failing in range(1, faults.stop() + 1):
                faults.fail_at(failing)
                with pytest.raises(LimitError):
                    await feed.refresh()
                faults.stop()
                assert feed.kernel_filter() == include(sources)


async def test_a_membership_of_nothing_hears_no_other_socket(any_group: str, senders: Senders) -> None:
    async with (
        aiomcast.listen(any_group, senders.port, sources=[A], interface="lo") as silent,
        aiomcast.listen(any_group, senders.port, interface="lo") as loud,
    ):
        stream = silent.packets()
        await silent.swap(())
        await senders.send(A, any_group, b"not for us")
        assert payloads(await take(aiter(loud), 1)) == [b"not for us"]
        await turns(20)
        assert silent.statistics().received == 0
        await silent.swap([A])
        await senders.send(A, any_group, b"for us")
        assert payloads(await take(stream, 1)) == [b"for us"]
