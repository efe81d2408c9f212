"""A handler of market data on lines A and B, which asks for a repeat of what both have lost.

A message begins with its number, four bytes. The service for repeats is asked over TCP for a first and a last
number, and answers with the messages, each behind its length; a mock of it is in here. On loopback:

    python examples/market_data.py serve 7001 &
    python examples/market_data.py handle 7001
"""

import argparse
import asyncio
import struct
import sys

import aiomcast
from aiomcast.feeds import Gap, Restart, Sequence, merge

PORT, INTERFACE = 5000, "lo"
LINES = {"232.1.1.1": "127.0.0.2", "232.1.1.2": "127.0.0.3"}  # group and source of A, of B
NUMBER = Sequence.at(0, "u32")
ASKED, LENGTH = struct.Struct("!II"), struct.Struct("!H")
PATIENCE = 2.0  # seconds for a repeat


def message(number: int) -> bytes:
    """What the exchange says under a number, here."""
    return number.to_bytes(4, "big") + b"price of %d" % number


async def repeat(port: int, first: int, last: int) -> list[bytes]:
    """Ask the service for messages; return those that it has."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(ASKED.pack(first, last))
        writer.write_eof()
        found = []
        while head := await reader.read(1):
            head += await reader.readexactly(LENGTH.size - 1)
            found.append(await reader.readexactly(*LENGTH.unpack(head)))
        return found
    finally:
        writer.close()


def act(data: bytes, how: str) -> None:
    """What the handler is for."""
    print(f"{NUMBER.number(data)} {how}: {data[4:].decode()}", flush=True)


async def handle(port: int, lines: dict[str, str]) -> None:
    async with aiomcast.Receiver() as receiver:
        feeds = [
            await receiver.join(group, PORT, sources=[source], interface=INTERFACE)
            for group, source in lines.items()
        ]
        print("handling", flush=True)
        async with merge(*feeds, sequence=NUMBER, hold=0.2) as merged:
            async for item in merged:
                if isinstance(item, Restart):
                    print(f"anew from {item.first}", flush=True)
                elif not isinstance(item, Gap):
                    act(item.data, "received")
                else:
                    # What comes meanwhile waits, so the order is kept.
                    try:
                        async with asyncio.timeout(PATIENCE):
                            for data in await repeat(port, item.first, item.last):
                                act(data, "repeated")
                    except (OSError, EOFError) as error:
                        print(f"{item.count} from {item.first} are lost: {error!r}", flush=True)


async def serve(port: int) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, last = ASKED.unpack(await reader.readexactly(ASKED.size))
        for number in range(first, min(last, first + 1000) + 1):
            data = message(number)
            writer.write(LENGTH.pack(len(data)) + data)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", port)
    print(f"serving {server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["handle", "serve"])
    parser.add_argument("port", type=int, help="of the service for repeats; 0 to serve on any")
    parser.add_argument("--groups", nargs=2, default=list(LINES), help="of A and B")
    given = parser.parse_args()
    try:
        if given.what == "serve":
            asyncio.run(serve(given.port))
        else:
            asyncio.run(handle(given.port, dict(zip(given.groups, LINES.values(), strict=True))))
    except KeyboardInterrupt:
        pass
    except aiomcast.MulticastError as error:
        sys.exit(str(error))
