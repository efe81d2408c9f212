"""What belongs to one thread, used by four at once: of the compiled reader nothing crashes, nor comes twice.

The portable one has no memory of its own to damage.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import sysconfig
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import cast

import pytest

import aiomcast
from aiomcast import SourceFilter, StateError, open_socket
from tests.support.packets import numbered, payloads
from tests.support.readers import PORT, native, sender, sock
from tests.support.sending import A, B, sending

__all__ = ["sender", "sock"]

pytestmark = pytest.mark.skipif(native is None, reason="the compiled reader was not built")

THREADS = 4


def at_once(*work: Callable[[], object]) -> None:
    """Do all of `work`, each in a thread of its own, from one moment on; raise what any of them raises."""
    go = threading.Barrier(len(work))
    raised: list[BaseException] = []

    def run(one: Callable[[], object]) -> None:
        try:
            go.wait(10)
            one()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(one,), daemon=True) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
        assert not thread.is_alive()
    for error in raised:
        raise error


def test_a_reader_each(any_group: str) -> None:
    """They share the receive buffers that no read is in."""

    def receive(number: int) -> None:
        with (
            open_socket(any_group, PORT + number, "lo") as opened,
            sending(A, any_group, PORT + number) as out,
        ):
            opened.set_filter(SourceFilter.any())
            reader = native.Reader(opened, SourceFilter.any())
            for turn in range(4000):
                payload = b"%d %d" % (number, turn)
                out.send(payload)
                assert payloads(reader.read(64)[0]) == [payload]
                assert reader.read(64) == ([], 0)

    at_once(*[partial(receive, number) for number in range(THREADS)])


def test_one_reader(sock: aiomcast.MulticastSocket, sender: socket.socket) -> None:
    reader = native.Reader(sock, SourceFilter.any())
    got: list[bytes] = []
    sent = numbered(300)
    all_sent = threading.Event()

    def send() -> None:
        for start in range(0, len(sent), 50):
            for payload in sent[start : start + 50]:
                sender.send(payload)
            while reader.received < start + 50:  # no more than the receive buffer holds
                os.sched_yield()
        all_sent.set()

    def read() -> None:
        while not all_sent.is_set():
            got.extend(payloads(reader.read(20)[0]))
            reader.set_filter(SourceFilter.exclude([B]))

    at_once(send, *[read] * THREADS)
    assert Counter(got) == Counter(sent)
    assert (reader.received, reader.unmade) == (len(sent), 0)


class Between:
    """A socket that calls `between` once, when it is asked for its descriptor at the start of a read."""

    def __init__(self, sock: aiomcast.MulticastSocket) -> None:
        self._sock = sock
        self.between: Callable[[], object] | None = None

    def __getattr__(self, name: str) -> object:
        return getattr(self._sock, name)

    def fileno(self) -> int:
        between, self.between = self.between, None
        if between is not None:
            between()
        return self._sock.fileno()


def test_a_read_counts_what_it_has_read_itself(sock: aiomcast.MulticastSocket, sender: socket.socket) -> None:
    """Another read comes in between, as one of another thread may."""
    watched = Between(sock)
    reader = native.Reader(cast(aiomcast.MulticastSocket, watched), SourceFilter.any())
    for payload in (b"1", b"2", b"3"):
        sender.send(payload)
    got: list[tuple[list[bytes], int]] = []

    def read(limit: int) -> None:
        packets, taken = reader.read(limit)
        got.append((payloads(packets), taken))

    watched.between = partial(read, 2)
    read(5)
    assert got == [([b"1", b"2"], 2), ([b"3"], 1)]
    assert (reader.received, reader.unmade) == (3, 0)


def test_one_read_set(sock: aiomcast.MulticastSocket, sender: socket.socket) -> None:
    reader = native.Reader(sock, SourceFilter.any())
    got: list[bytes] = []
    reader.sink = lambda packets: got.extend(payloads(packets))
    reads = native.ReadSet()
    sent = numbered(300)
    all_sent = threading.Event()

    def send() -> None:
        reads.add(reader)
        for start in range(0, len(sent), 50):
            for payload in sent[start : start + 50]:
                sender.send(payload)
            while reader.received < start + 50:
                os.sched_yield()
        all_sent.set()

    def read() -> None:
        while not all_sent.is_set():
            reads.read(512)

    def come_and_go() -> None:
        while not all_sent.is_set():
            reads.discard(reader)
            reads.add(reader)

    try:
        at_once(send, come_and_go, *[read] * (THREADS - 1))
        assert Counter(got) == Counter(sent)
    finally:
        reads.close()


def test_one_queue() -> None:
    queue: native.PacketQueue[int] = native.PacketQueue(100_000)
    got: list[int] = []
    fed = threading.Event()

    def feed() -> None:
        for start in range(0, 5_000, 10):
            queue._feed(list(range(start, start + 10)))
        fed.set()

    def take() -> None:
        while not fed.is_set() or len(queue):
            try:
                if queue._advance():
                    got.append(queue._take())
                got.extend(queue._drop_oldest(1))
                got.extend(queue._discard(lambda item: item % 7 == 0))
            except StateError:
                continue  # another has taken it meanwhile

    at_once(feed, *[take] * THREADS)
    assert all(count == 1 for count in Counter(got).values())


@pytest.mark.skipif(
    not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this Python is not free-threaded"
)
def test_the_package_leaves_the_lock_off() -> None:
    assert native is not None
    script = (
        "import sys, aiomcast.reading, aiomcast.feeds._numbers; "
        "print(aiomcast.reading.implementation, sys._is_gil_enabled())"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHON_GIL"}
    environment["AIOMCAST_READING"] = "native"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("native False\n", "")


def test_the_receive_buffers_of_a_thread_end_with_it(any_group: str) -> None:
    def mapped() -> int:
        """Return how many bytes of address space the process has."""
        with open("/proc/self/statm", encoding="ascii") as numbers:
            return int(numbers.read().split()[0]) * os.sysconf("SC_PAGESIZE")

    with open_socket(any_group, PORT, "lo") as opened:
        make = partial(native.Reader, opened, SourceFilter.any())  # which sees to it that there are buffers
        at_once(make)  # the C library keeps what a first thread took for the next ones
        before = mapped()
        for _ in range(100):
            at_once(make)
        assert mapped() - before < 100 * 64 * 65535 // 2
