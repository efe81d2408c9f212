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
    length = message[at]
    if length == 0:
        return (), at + 1
    if length >= 0xC0:
        earlier = (length & 0x3F) << 8 | message[at + 1]
        if earlier >= at:
            raise ValueError("a name that leads forward")
        return unpacked(message, earlier)[0], at + 2
    rest, end = unpacked(message, at + 1 + length)
    return (message[at + 1 : at + 1 + length].decode(), *rest), end


def parsed(message: bytes) -> Iterator[tuple[bool, Name, int, int, int]]:
    """Yield (is a question, name, type, class, where its data begin) of all that is in a message."""
    counts, at = struct.unpack_from("!4H", message, 4), 12
    for number in range(sum(counts)):
        name, at = unpacked(message, at)
        kind, space = struct.unpack_from("!2H", message, at)
        yield number < counts[0], name, kind, space, at + 10
        at += 4 if number < counts[0] else 10 + int.from_bytes(message[at + 8 : at + 10])


def record(name: Name, kind: int, data: bytes, *, shared: bool = False) -> bytes:
    """Return a record with two minutes to live."""
    return packed(name) + struct.pack("!2HIH", kind, IN if shared else IN | FLUSH, 120, len(data)) + data


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
            if not is_question and kind == SRV and name[1:] == self.service and name not in self.known:
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
        for is_question, name, kind, space, _ in parsed(data):
            ours = (name == self.service and kind in (PTR, ANY)) or name == self.instance
            if is_question and ours:
                legacy = addr[1] != PORT
                self.transport.sendto(self.answer(data, legacy), addr if legacy or space & UNICAST else None)

    def answer(self, query: bytes, legacy: bool) -> bytes:
        """Return where the service is; who does not speak from port 5353 gets its question back too."""
        assert self.transport.source is not None
        address = bytes(map(int, self.transport.source[0].split(".")))
        host = (self.instance[0].replace(" ", "-"), "local")
        location = struct.pack("!3H", 0, 0, self.port) + packed(host)
        records = [
            record(self.service, PTR, packed(self.instance), shared=True),
            record(self.instance, SRV, location),
            record(self.instance, TXT, b"\0"),
            record(host, A, address),
        ]
        number, question = (query[:2], query[12 : unpacked(query, 12)[1] + 4]) if legacy else (b"\0\0", b"")
        return number + struct.pack("!5H", 0x8400, legacy, len(records), 0, 0) + question + b"".join(records)


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
