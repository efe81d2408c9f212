"""Questions to the kernel, and answers that no kernel here can be made to give."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator

import pytest

from aiomcast.system.netlink import MalformedMessage, Netlink, request

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="rtnetlink is Linux's")

LINK, ERROR, DONE = 16, 2, 3
MULTI, INTERRUPTED = 2, 0x10
OK = struct.pack("=i", 0)


class Told(Netlink):
    """Answers each question by the next of some lists of (type, flags, what it holds)."""

    def __init__(self, *answers: list[tuple[int, int, bytes]]) -> None:
        super().__init__()
        self.asked = 0
        self._script = iter(answers)
        self._datagrams: Iterator[bytes] = iter(())

    def _send(self, kind: int, flags: int, payload: bytes) -> None:
        self.asked += 1
        self._sequence += 1
        answer = next(self._script)
        self._datagrams = iter([request(kind, flags, self._sequence, held) for kind, flags, held in answer])

    def receive(self) -> bytes:
        return next(self._datagrams)


def test_one_answer() -> None:
    with Told([(LINK, 0, b"head")]) as kernel:
        assert kernel.ask(18, b"") == b"head"


def test_a_refusal() -> None:
    with (
        Told([(ERROR, 0, struct.pack("=i", -errno.ENODEV))]) as kernel,
        pytest.raises(OSError, match="device") as caught,
    ):
        kernel.ask(18, b"")
    assert (caught.value.errno, caught.value.strerror) == (errno.ENODEV, os.strerror(errno.ENODEV))


def test_an_end_without_an_answer() -> None:
    for kind in (ERROR, DONE):
        with Told([(kind, 0, OK)]) as kernel, pytest.raises(MalformedMessage, match="before it gave one"):
            kernel.ask(18, b"")


@pytest.mark.parametrize("held", [b"", b"\0\0\0", struct.pack("=i", 5), struct.pack("=i", -(1 << 31))])
def test_a_refusal_for_no_reason(held: bytes) -> None:
    with Told([(ERROR, 0, held)]) as kernel, pytest.raises(MalformedMessage, match="no error number"):
        kernel.ask(18, b"")


def test_a_list() -> None:
    with Told([(LINK, MULTI, b"one."), (LINK, MULTI, b"two."), (DONE, MULTI, OK)]) as kernel:
        assert kernel.dump(18, b"") == [b"one.", b"two."]
    with Told([(DONE, MULTI, OK)]) as kernel:
        assert kernel.dump(18, b"") == []


def test_a_list_that_breaks_off() -> None:
    broken = [(LINK, MULTI, b"one."), (DONE, MULTI, struct.pack("=i", -errno.ENOMEM))]
    with Told(broken) as kernel, pytest.raises(OSError, match="memory") as caught:
        kernel.dump(18, b"")
    assert caught.value.errno == errno.ENOMEM


@pytest.mark.parametrize("where", [0, 1])
def test_a_list_that_changed_is_told_again(where: int) -> None:
    changed = [(LINK, MULTI, b"old."), (DONE, MULTI, OK)]
    kind, flags, held = changed[where]
    changed[where] = (kind, flags | INTERRUPTED, held)
    with Told(changed, [(LINK, MULTI, b"new."), (DONE, MULTI, OK)]) as kernel:
        assert kernel.dump(18, b"") == [b"new."]
        assert kernel.asked == 2


def test_a_list_that_always_changes() -> None:
    changing = [(LINK, MULTI | INTERRUPTED, b"some"), (DONE, MULTI, OK)]
    with Told(*[changing] * 100) as kernel:
        assert kernel.dump(18, b"") == [b"some"]
        assert kernel.asked < 10


def test_an_answer_to_an_earlier_question_counts_for_nothing() -> None:
    class Late(Told):
        def receive(self) -> bytes:
            self.receive = super().receive  # type: ignore[method-assign]  # once
            return request(LINK, 0, 0, b"late")

    with Late([(LINK, 0, b"now.")]) as kernel:
        assert kernel.ask(18, b"") == b"now."


def test_nothing_to_read() -> None:
    with Netlink() as kernel, pytest.raises(BlockingIOError):
        kernel.receive()


def test_what_another_process_sends_is_not_heard() -> None:
    with Netlink() as kernel, socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as other:
        port = kernel._socket.getsockname()[0]
        try:
            other.sendto(request(LINK, 0, 1, b"mine"), (port, 0))
        except PermissionError:
            pytest.skip("only a privileged process can send it")
        with pytest.raises(BlockingIOError):
            kernel.receive()


def test_the_sockets_are_closed() -> None:
    with Netlink() as kernel:
        assert kernel.fileno() >= 0
    kernel.close()
    assert kernel.fileno() == -1


def test_a_socket_that_cannot_be_bound_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[socket.socket] = []

    class Unbound(socket.socket):
        def bind(self, *_: object) -> None:
            opened.append(self)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(socket, "socket", Unbound)
    with pytest.raises(OSError, match="open files"):
        Netlink()
    assert [one.fileno() for one in opened] == [-1]
