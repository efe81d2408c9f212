"""Find services on the link, and offer one: multicast DNS and DNS-SD (RFC 6762 and 6763), IPv4.

    python examples/mdns.py answer _demo._tcp.local "My service" 8080 --interface eth0
    python examples/mdns.py browse _demo._tcp.local --interface eth0

It talks to every other responder of the link: Avahi, Bonjour, printers.
"""

import argparse
import asyncio
import struct
from collections.abc import Iterator
from contextlib import suppress

import aiomcast

GROUP, PORT = "224.0.0.251", 5353
A, PTR, TXT, SRV, ANY = 1, 12, 16, 33, 255
IN, UNICAST = 1, 0x8000  # the highest bit of a question's class: answer me alone (5.4)
FLUSH = 0x8000  # the same bit of a record's: this is all there is of it (10.2)
Name = tuple[str, ...]


def packed(name: Name) -> bytes:
    """Return a name as it goes into a message."""
    labels = [label.encode() for label in name]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def unpacked(message: bytes, at: int) -> tuple[Name, int]:
    """Return the name at an offset, and where it ends; a pointer leads back (RFC 1035, 4.1.4)."""
    labels: list[str] = []
    end, size = 0, 0
    while length := message[at]:
        if length >= 0xC0:
            end = end or at + 2
            at, before = (length & 0x3F) << 8 | message[at + 1], at
            if at >= before:
                raise ValueError("a name that leads forward")
            continue
        labels.append(message[at + 1 : at + 1 + length].decode())
        at, size = at + 1 + length, size + 1 + length
        if size > 255:
            raise ValueError("a name that is too long")
    return tuple(labels), end or at + 1


def is_same(one: Name, other: Name) -> bool:
    """Whether two names are one: their case does not count (16)."""
    return [label.lower() for label in one] == [label.lower() for label in other]


def parsed(message: bytes) -> Iterator[tuple[bool, Name, int, int, int]]:
    """Yield (is a question, name, type, class, where its data begin) of all that is in a message."""
    counts, at = struct.unpack_from("!4H", message, 4), 12
    for number in range(sum(counts)):
        name, at = unpacked(message, at)
        kind, space = struct.unpack_from("!2H", message, at)
        yield number < counts[0], name, kind, space, at + 10
        at += 4 if number < counts[0] else 10 + int.from_bytes(message[at + 8 : at + 10])


def record(name: Name, kind: int, data: bytes, space: int = IN | FLUSH, seconds: int = 120) -> bytes:
    """Return a record, with its time to live."""
    return packed(name) + struct.pack("!2HIH", kind, space, seconds, len(data)) + data


class Speaker(aiomcast.MulticastProtocol):
    """What a browser and a responder have in common."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, to send on."""
        super().connection_made(transport)
        assert isinstance(transport, aiomcast.MulticastTransport)
        self.transport = transport


class Browser(Speaker):
    """Asks for instances of a service and prints each that answers, once."""

    def __init__(self, service: Name) -> None:
        self.service = service
        self.known: dict[Name, tuple[Name, int]] = {}

    def ask(self) -> None:
        """Ask everybody (5.2)."""
        question = packed(self.service) + struct.pack("!2H", PTR, IN)
        self.transport.sendto(struct.pack("!6H", 0, 0, 1, 0, 0, 0) + question)

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        """Read an answer; what is no message goes to the loop's exception handler."""
        for is_question, name, kind, _, at in parsed(data):
            is_new = kind == SRV and is_same(name[1:], self.service) and name not in self.known
            if is_new and not is_question:
                host, port = unpacked(data, at + 6)[0], int.from_bytes(data[at + 4 : at + 6])
                self.known[name] = host, port
                print(f"{name[0]}: {'.'.join(host)} port {port}, says {addr[0]}", flush=True)


class Responder(Speaker):
    """Answers for one instance of a service."""

    def __init__(self, service: Name, name: str, port: int) -> None:
        self.service, self.instance, self.port = service, (name, *service), port

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        """Answer the questions that are for us: to all, or to who asks for that (5.4, 6.7)."""
        if data[2] & 0x80:  # somebody's answer
            return
        for is_question, name, kind, space, at in parsed(data):
            is_ours = is_same(name, self.service) and kind in (PTR, ANY)
            if is_question and (is_ours or is_same(name, self.instance)):
                legacy = addr[1] != PORT
                question = packed(name) + data[at - 10 : at - 6]
                message = self.answer(data[:2], question) if legacy else self.answer()
                self.transport.sendto(message, addr if legacy or space & UNICAST else None)
                return

    def answer(self, number: bytes = b"\0\0", question: bytes = b"") -> bytes:
        """Return where the service is; who asks from another port gets its question back too (6.7)."""
        assert self.transport.source is not None
        address = bytes(map(int, self.transport.source[0].split(".")))
        host = (self.instance[0].replace(" ", "-"), "local")
        location = struct.pack("!3H", 0, 0, self.port) + packed(host)
        space, seconds = (IN, 10) if question else (IN | FLUSH, 120)
        records = [
            record(self.service, PTR, packed(self.instance), IN, seconds),
            record(self.instance, SRV, location, space, seconds),
            record(self.instance, TXT, b"\0", space, seconds),
            record(host, A, address, space, seconds),
        ]
        counts = struct.pack("!5H", 0x8400, bool(question), len(records), 0, 0)
        return number + counts + question + b"".join(records)


async def main(given: argparse.Namespace) -> None:
    """Browse or answer until Ctrl-C."""
    service = tuple(given.service.rstrip(".").split("."))

    def protocol() -> Browser | Responder:
        return Browser(service) if given.what == "browse" else Responder(service, given.name, given.port)

    transport, speaker = await aiomcast.create_multicast_endpoint(
        protocol, GROUP, PORT, interface=given.interface, sources=None, source_port=PORT, ttl=255
    )
    print(f"{given.what} on {transport.get_extra_info('interface').name}", flush=True)
    try:
        while True:
            if isinstance(speaker, Browser):
                speaker.ask()
            await asyncio.sleep(10)
    finally:
        transport.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["browse", "answer"])
    parser.add_argument("service", help="such as _http._tcp.local")
    parser.add_argument("name", nargs="?", default="aiomcast", help="of what is offered")
    parser.add_argument("port", nargs="?", type=int, default=8080, help="of what is offered")
    parser.add_argument("--interface", help="name, index or address (default: the route's)")
    with suppress(KeyboardInterrupt):
        asyncio.run(main(parser.parse_args()))
