"""Print what some sources send to a group.

On loopback, without privileges:

    python examples/listen.py &
    aiomcast send 232.1.1.1 5000 --source 127.0.0.2 --interface lo
"""

import argparse
import asyncio
import contextlib

import aiomcast


async def main(group: str, port: int, sources: list[str], interface: str | None) -> None:
    async with aiomcast.listen(group, port, sources=sources, interface=interface) as feed:
        print(f"listening on {feed.interface.name}", flush=True)
        async for packet in feed:
            print(packet.source, packet.group, packet.timestamp_ns, packet.data, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("group", nargs="?", default="232.1.1.1")
    parser.add_argument("port", nargs="?", type=int, default=5000)
    parser.add_argument("--source", action="append", help="let this one in; repeat (default: 127.0.0.2)")
    parser.add_argument("--interface", default="lo", help="name, index or address (default: lo)")
    given = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(given.group, given.port, given.source or ["127.0.0.2"], given.interface))
