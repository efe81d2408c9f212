"""`ReadSet` and `PacketQueue` of both readers, and the parser of control messages."""

import asyncio
import errno
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aiomcast
from aiomcast import SourceFilter, open_socket
from aiomcast.reading import portable
from aiomcast.system.readiness import ready
from tests.support.packets import payloads
from tests.support.platforms import IS_WINDOWS, wrong_in_wine
from tests.support.readers import PORT, native, reading
from tests.support.sending import A, B, sending

__all__ = ["reading"]


class Reads:
    """Readers of several groups in one set, each with its list of what it was handed."""

    def __init__(self, reading: ModuleType, group: str, stack: ExitStack) -> None:
        self.reading, self.group, self.stack = reading, group, stack
        self.set = reading.ReadSet()
        stack.callback(self.set.close)
        self.batches: list[list[list[aiomcast.Packet]]] = []
        self.errors: list[OSError] = []

    def add(self, source_filter: SourceFilter | None = None) -> "portable.Reader":
        number = len(self.batches)
        sock = self.stack.enter_context(open_socket(self.group, PORT + number, "lo"))
        sock.set_filter(SourceFilter.any())
        reader: portable.Reader = self.reading.Reader(sock, source_filter or SourceFilter.any())
        self.batches.append([])
        reader.sink, reader.failed = self.batches[number].append, self.errors.append
        self.set.add(reader)
        return reader

    def send(self, number: int, count: int, source: str = A) -> None:
        with sending(source, self.group, PORT + number) as sender:
            for one in range(count):
                sender.send(b"%d" % one)

    def got(self, number: int) -> list[bytes]:
        return [one for batch in self.batches[number] for one in payloads(batch)]


@pytest.fixture
def reads(reading: ModuleType, any_group: str) -> Iterator[Reads]:
    with ExitStack() as stack:
        yield Reads(reading, any_group, stack)


def readable(reads: "portable.ReadSet") -> bool:
    """Whether whoever waits for the set would be woken."""
    number = reads.fileno()
    waited_for = [number] if number >= 0 else reads.waited_for()
    return bool(waited_for) and bool(ready(waited_for))


def test_a_set_that_is_closed_can_still_be_asked_what_to_wait_for(reads: Reads) -> None:
    # A thread that waits may ask in the moment in which it closes.
    reads.add()
    reads.set.close()
    assert (reads.set.fileno(), reads.set.waited_for()) == (-1, [])


def test_a_set_is_readable_while_one_of_its_sockets_is(reads: Reads) -> None:
    reads.add(), reads.add()
    assert not readable(reads.set)
    reads.send(1, 3)
    assert readable(reads.set)
    reads.set.read(100)
    assert not readable(reads.set)
    assert (reads.got(0), reads.got(1)) == ([], [b"0", b"1", b"2"])
    reads.set.read(100)
    assert len(reads.batches[1]) == 1


def test_adding_twice_and_taking_out(reads: Reads) -> None:
    reader = reads.add()
    reads.set.add(reader)
    reads.send(0, 1)
    reads.set.discard(reader)
    reads.set.discard(reader)
    assert not readable(reads.set)
    reads.set.read(10)
    assert reads.got(0) == []
    reads.set.add(reader)
    reads.set.read(10)
    assert reads.got(0) == [b"0"]


@pytest.mark.parametrize("refused", [False, True])
def test_a_flood_starves_nobody(reads: Reads, refused: bool) -> None:
    """A read ends at about its budget, and every ready socket has its turn, filtered or not."""
    flooded = reads.add(SourceFilter.include([B]) if refused else None)
    for _ in range(20):
        reads.add()
    flooded.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
    reads.send(0, 500)
    for number in range(1, 21):
        reads.send(number, 1)
    reads.set.read(64)
    assert flooded.received <= 128
    for _ in range(4):
        reads.set.read(100)
    assert [reads.got(number) for number in range(1, 21)] == [[b"0"]] * 20
    assert flooded.received < 500
    while readable(reads.set):
        reads.set.read(100)
    assert flooded.received == 500
    assert reads.got(0) == ([] if refused else [b"%d" % one for one in range(500)])
    assert flooded.filtered == (500 if refused else 0)


def test_a_socket_that_closes_in_the_set_and_its_number_used_again(reads: Reads) -> None:
    gone, stays = reads.add(), reads.add()
    reads.send(0, 1)
    number = gone.sock.fileno()
    gone.sock.close()
    assert gone.read(5) == ([], 0)
    reads.send(1, 1)
    reads.set.read(10)
    assert reads.got(1) == [b"0"]
    new = reads.add()
    if not IS_WINDOWS:  # which uses a number again at a time of its own
        assert new.sock.fileno() == number
    reads.send(2, 1)
    reads.set.read(10)
    assert reads.got(2) == [b"0"]
    reads.set.discard(gone)
    reads.send(2, 1)
    reads.set.read(10)
    assert reads.got(2) == [b"0", b"0"]
    # epoll forgets what is closed; where every socket is asked that one tells of it.
    told = [errno.EBADF] if IS_WINDOWS else []
    assert (reads.got(0), [error.errno for error in reads.errors]) == ([], told)
    assert stays.received == 1


@pytest.mark.parametrize("doing", ["discard", "close socket", "close set", "add"])
def test_a_sink_may_change_the_set(reads: Reads, doing: str) -> None:
    first, second = reads.add(), reads.add()
    added: list[portable.Reader] = []

    def change(batch: list[aiomcast.Packet]) -> None:
        match doing:
            case "discard":
                reads.set.discard(second)
            case "close socket":
                reads.set.discard(second)
                second.sock.close()
            case "close set":
                reads.set.close()
            case "add":
                added.append(reads.add())

    first.sink = change
    reads.send(0, 1)
    reads.send(1, 1)
    reads.set.read(10)
    if doing == "add":
        assert reads.got(1) == [b"0"]
        assert len(added) == 1
    elif doing != "close set":  # what was read of `second` before the sink was called still came, or not
        before = reads.got(1)
        if doing == "discard":
            reads.send(1, 1)
            reads.set.read(10)
        assert reads.got(1) == before


@wrong_in_wine("its poll does not tell of an error alone")
def test_a_failure_may_close_the_set(reads: Reads) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        nobody = peer.getsockname()
    errors = []

    def close(error: OSError) -> None:
        errors.append(error)
        reads.set.close()

    with plain_socket(reads.group) as sock:
        sock.connect(nobody)
        reader = reads.reading.Reader(sock, SourceFilter.any())
        reader.failed = close
        reads.set.add(reader)
        sock.send(b"to nobody")
        reads.set.read(10)
        assert len(errors) == 1


def plain_socket(group: str) -> "aiomcast.MulticastSocket":
    """Return a socket on 127.0.0.1 that can be told of errors."""
    sock = aiomcast.MulticastSocket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.group, sock.port, sock.interface = group, PORT, aiomcast.Interface(1, "lo")
    sock.setblocking(False)
    sock.bind(("127.0.0.1", 0))
    return sock


# The queue, against a list


def queue_of(reading: ModuleType, capacity: int) -> "tuple[portable.PacketQueue[int], list[str]]":
    said: list[str] = []

    class Queue(reading.PacketQueue):  # type: ignore[misc,name-defined]  # of either reader
        def _pause(self) -> None:
            said.append("pause")

        def _resume(self) -> None:
            said.append("resume")

    return Queue(capacity), said


operations = st.lists(
    st.one_of(
        st.tuples(st.just("feed"), st.integers(1, 5)),
        st.tuples(st.sampled_from(["take", "take_batch"]), st.just(0)),
        st.tuples(st.sampled_from(["discard", "drop_oldest"]), st.integers(-1, 6)),
    ),
    max_size=40,
)


@given(capacity=st.integers(1, 6), doing=operations, which=st.sampled_from(["portable", "native"]))
def test_a_queue_is_a_list_with_a_pause(capacity: int, doing: list[tuple[str, int]], which: str) -> None:
    reading = native if which == "native" and native is not None else portable
    queue, said = queue_of(reading, capacity)
    model: list[int] = []
    paused, fed = False, 0
    for operation, number in doing:
        if operation == "feed":
            items = list(range(fed, fed + number))
            fed += number
            model += items
            queue._feed(items)
            paused = paused or len(model) >= capacity
        elif operation == "take" and queue._advance():
            assert queue._take() == model.pop(0)
        elif operation == "take_batch" and queue._advance():
            batch = queue._take_batch()
            assert batch
            assert batch == model[: len(batch)]
            del model[: len(batch)]
        elif operation == "discard":
            gone = [item for item in model if item % 3 == number % 3]
            assert queue._discard(gone.__contains__) == gone
            model = [item for item in model if item not in gone]
        elif operation == "drop_oldest":
            assert queue._drop_oldest(number) == model[: max(number, 0)]
            del model[: max(number, 0)]
        paused = paused and len(model) > capacity // 2
        assert (len(queue), queue._fed, bool(queue), queue._paused) == (len(model), fed, True, paused)
    assert said == ["pause", "resume"] * (len(said) // 2) + ["pause"] * (len(said) % 2)
    assert (said[-1:] == ["pause"]) is paused


def test_a_batch_of_each_queue_is_taken_at_once(reading: ModuleType) -> None:
    queues = {place: queue_of(reading, 4) for place in (1, 5, 7)}
    by_place = {place: queue for place, (queue, _) in queues.items()}
    queues[5][0]._feed([1, 2, 3, 4])
    queues[5][0]._feed([5])
    queues[7][0]._feed([6])
    into: dict[int, list[int]] = {}
    assert reading.take_queued(by_place, into) == 4
    assert into == {5: [1, 2, 3, 4], 7: [6]}
    assert queues[5][1] == ["pause", "resume"]
    assert reading.take_queued(by_place, into) == 1
    assert into == {5: [5], 7: [6]}
    assert reading.take_queued(by_place, into) == 0


def test_a_queue_without_a_loop_says_who_must_wait(reading: ModuleType) -> None:
    queue: portable.PacketQueue[int] = reading.PacketQueue(4)

    async def first() -> int:
        return await anext(queue)

    queue._feed([7])
    assert asyncio.run(first()) == 7
    with pytest.raises(AssertionError):
        asyncio.run(first())


# Control messages

native_only = pytest.mark.skipif(native is None, reason="the compiled reader was not built")
messages = st.tuples(
    st.sampled_from([0, 1, 17, 41, 255]),
    st.sampled_from([1, 2, 29, 35, 37, 40, 49, 52, 64, 65, 67, 104]),
    st.one_of(
        st.binary(max_size=56),
        st.sampled_from([struct.pack("=qq", 5, 6), struct.pack("=i", 1), struct.pack("=6q", *range(6))]),
    ),
)


HEAD = struct.Struct("@Nii")  # struct cmsghdr; what follows is padded to whole words
WORD = struct.calcsize("@N")


def packed(level: int, kind: int, payload: bytes, length: int | None = None) -> bytes:
    length = HEAD.size + len(payload) if length is None else length
    return HEAD.pack(length, level, kind) + payload + bytes(-len(payload) % WORD)


@native_only
@given(st.binary(max_size=256))
def test_no_control_bytes_upset_the_parser(control: bytes) -> None:
    stamp, dropped, hops, traffic, segment, hardware = native.parse_control(control)
    assert isinstance(stamp, int)
    assert isinstance(hardware, int)
    assert -1 <= dropped < 1 << 32
    assert -1 <= hops <= 255
    assert -1 <= traffic <= 255
    assert 0 <= segment < 1 << 31


@native_only
@given(st.lists(messages, max_size=6), st.integers(0, 256**WORD - 1), st.integers(0, 200))
def test_no_lie_about_a_length_upsets_the_parser(
    entries: list[tuple[int, int, bytes]], lie: int, cut: int
) -> None:
    honest = b"".join(packed(*entry) for entry in entries)
    native.parse_control(honest[: max(len(honest) - cut, 0)])
    for length in (lie, lie % 64, HEAD.size, HEAD.size - 1, 0):
        native.parse_control(honest + packed(1, 35, bytes(16), length) + honest)


@native_only
def test_what_the_parser_finds() -> None:
    parse = native.parse_control
    assert parse(b"") == (-1, -1, -1, -1, 0, 0)
    stamp = packed(1, 35, struct.pack("=qq", 1700000000, 123456789))
    drops = packed(1, 40, struct.pack("=I", 2**32 - 1))
    assert parse(stamp + drops) == (1700000000123456789, 2**32 - 1, -1, -1, 0, 0)
    v4 = packed(0, 2, struct.pack("=i", 64)) + packed(0, 1, b"\xb8")
    v6 = packed(41, 52, struct.pack("=i", 7)) + packed(41, 67, struct.pack("=i", 0xB8))
    assert parse(v4 + packed(17, 104, struct.pack("=i", 1200))) == (-1, -1, 64, 0xB8, 1200, 0)
    assert parse(v6 + stamp) == (1700000000123456789, -1, 7, 0xB8, 0, 0)
    assert parse(packed(17, 104, struct.pack("=i", -5)))[4] == 1
    assert parse(stamp[:-8])[0] == -1
