"""A receiver where multicast does not reach: it joins what relays have stored. See relay.py."""

import argparse
import asyncio
import contextlib
import sys

import aiomcast
from aiomcast.relay import JetStream, Start


async def main(url: str, group: str, port: int, source: str, start: Start) -> None:
    network = JetStream(url).network(start=start)  # without it this is a receiver on the wire
    async with aiomcast.listen(group, port, sources=[source], network=network) as feed:
        print(f"reading {group}", flush=True)
        async for packet in feed:
            print(packet.source, packet.group, packet.timestamp_ns, packet.data, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("url", help="nats://HOST:PORT")
    parser.add_argument("group", nargs="?", default="232.1.1.1")
    parser.add_argument("port", nargs="?", type=int, default=5000)
    parser.add_argument("--source", default="127.0.0.2", help="whose packets (default: 127.0.0.2)")
    parser.add_argument("--first", action="store_true", help="from the first packet that is kept on")
    given = parser.parse_args()
    start = Start.FIRST if given.first else Start.LIVE
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(main(given.url, given.group, given.port, given.source, start))
    except aiomcast.MulticastError as error:
        sys.exit(str(error))
