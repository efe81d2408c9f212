"""One feed on two lines: two hosts that send it, each on a cable of its own to the test's host."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType
from typing import Self

from aiomcast import Membership, Receiver
from tests.support.sending import sending

from .network import execute
from .place import Place

__all__ = ["Line", "Lines", "two_lines"]

PORT = 5000
NUMBER = struct.Struct("!I")
_SO_RCVBUFFORCE, _PACKET_STATISTICS, _ETH_P_ALL = 33, 6, 3
_PACKET_OUTGOING = 4


class Line:
    """One line: `near` is the interface of the test's host, `far` that of the host which sends.

    `arrived` has the numbers that came over the cable, in order, as a witness below IP has seen them.
    """

    def __init__(self, index: int, family: int, host: Place) -> None:
        self.near, self.far = f"near{index}", f"far{index}"
        self.host = host
        self.arrived: list[int] = []
        if family == 4:
            self.source, self.near_address = f"192.0.{2 + index}.2", f"192.0.{2 + index}.1/24"
            self.far_address, self.group = f"{self.source}/24", f"232.3.1.{1 + index}"
        else:
            self.source, self.near_address = f"2001:db8:{index}::2", f"2001:db8:{index}::1/64"
            self.far_address, self.group = f"{self.source}/64", f"ff3e::8003:{1 + index}"

    def open(self, opened: ExitStack) -> None:
        """Open the socket that sends, and the witness; the calling thread is on the near host."""
        with self.host.inside():
            index = socket.if_nametoindex(self.far)
            self._sender = opened.enter_context(sending(self.source, self.group, PORT, index))
        self._witness = opened.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM))
        self._witness.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 25)
        self._witness.setblocking(False)
        self._witness.bind((self.near, _ETH_P_ALL))

    def send(self, *numbers: int) -> None:
        """Send packets with these numbers; what the host refuses for want of a cable is lost on it."""
        for number in numbers:
            with suppress(OSError):
                self._sender.send(NUMBER.pack(number))

    def impair(self, *rules: str) -> None:
        """Have these rules of nft where packets leave the host; none takes them away."""
        with suppress(Exception):
            execute(["ip", "netns", "exec", self.host.namespace, "nft", "delete table netdev ill"])
        if rules:
            chain = f"chain out {{\ntype filter hook egress device {self.far} priority 0;\n"
            table = "table netdev ill {\n" + chain + "\n".join(rules) + "\n}\n}\n"
            execute(["ip", "netns", "exec", self.host.namespace, "nft", "-f", "-"], input=table)

    def look(self) -> list[int]:
        """Take in what the witness has seen since; return all of `arrived`. It has missed nothing."""
        while True:
            try:
                data, address = self._witness.recvfrom(2048)
            except BlockingIOError:
                break
            header = 28 if data[0] >> 4 == 4 else 48
            if address[2] != _PACKET_OUTGOING and len(data) == header + NUMBER.size:
                self.arrived.append(*NUMBER.unpack(data[header:]))
        counted = self._witness.getsockopt(263, _PACKET_STATISTICS, 8)  # SOL_PACKET
        assert struct.unpack("II", counted)[1] == 0, "the witness was overrun"
        return self.arrived


class Lines:
    """Both lines, and the place of the host that hears them."""

    def __init__(self, near: Place, a: Line, b: Line) -> None:
        self.near, self.a, self.b = near, a, b

    async def join(self, receiver: Receiver) -> list[Membership]:
        """Join both."""
        return [
            await receiver.join(line.group, PORT, sources=[line.source], interface=line.near)
            for line in (self.a, self.b)
        ]


@contextmanager
def two_lines(family: int, *, behind: float = 0) -> Iterator[Lines]:
    """The lines, the second so many seconds behind; the calling thread is on the host that hears them."""
    with ExitStack() as stack:
        hosts = [stack.enter_context(Place()) for _ in range(2)]
        middle = stack.enter_context(Place()) if behind else None
        near = stack.enter_context(Place())
        lines = [Line(index, family, host) for index, host in enumerate(hosts)]
        for line in lines:
            execute(["ip", "netns", "exec", line.host.namespace, "sysctl", "-qw",
                     "net.ipv6.conf.default.keep_addr_on_down=1"])  # fmt: skip
            if middle is None or line is lines[0]:
                near.ip(f"link add {line.near} type veth peer name {line.far} netns {line.host.namespace}")
            else:
                near.ip(f"link add {line.near} type veth peer name out netns {middle.namespace}")
                middle.ip(f"link add in type veth peer name {line.far} netns {line.host.namespace}")
                middle.ip("link set in up", "link set out up")
                # Frames are copied as they are: the checksum has to be in them.
                ethtool = ["ethtool", "-K", line.far, "tx", "off"]
                execute(["ip", "netns", "exec", line.host.namespace, *ethtool])
            nodad = " nodad" * (family == 6)
            near.ip(f"link set {line.near} up", f"addr add {line.near_address} dev {line.near}{nodad}")
            line.host.ip(f"link set {line.far} up", f"addr add {line.far_address} dev {line.far}{nodad}")
            line.open(stack)
        if middle is not None:
            stack.enter_context(_Relay(middle, behind))
        yield Lines(near, *lines)


class _Relay:
    """Moves frames from one interface of a place to the other, each so many seconds later."""

    def __init__(self, place: Place, behind: float) -> None:
        self._behind = behind
        self._stop, self._stopped = socket.socketpair()
        with place.inside():
            self._in, self._out = [socket.socket(socket.AF_PACKET, socket.SOCK_RAW) for _ in ("in", "out")]
            self._in.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 25)
            self._in.bind(("in", _ETH_P_ALL))
            self._out.bind(("out", 0))
        self._thread = threading.Thread(target=self._move)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.close()
        self._thread.join()
        for sock in (self._in, self._out, self._stopped):
            sock.close()

    def _move(self) -> None:
        waiting: deque[tuple[float, bytes]] = deque()
        while True:
            left = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
            readable, _, _ = select.select([self._in, self._stopped], [], [], left)
            if self._stopped in readable:
                return
            if readable:
                frame, address = self._in.recvfrom(2048)
                if address[2] != _PACKET_OUTGOING:
                    waiting.append((time.monotonic() + self._behind, frame))
            while waiting and waiting[0][0] <= time.monotonic():
                self._out.send(waiting.popleft()[1])
