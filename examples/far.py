"""A receiver where multicast does not reach: the packets that relays have stored. See relay.py."""

import argparse
import asyncio
import contextlib
import sys

import aiomcast
from aiomcast.relay import JetStream, Start, Subscription


async def main(url: str, group: str, start: Start) -> None:
    async with JetStream(url) as server, Subscription(server, group=group, start=start) as subscription:
        print(f"reading {group}", flush=True)
        async for packet in subscription:
            print(packet.source, packet.group, packet.timestamp_ns, packet.data, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("url", help="nats://HOST:PORT")
    parser.add_argument("group", nargs="?", default="232.1.1.1")
    parser.add_argument("--first", action="store_true", help="from the first packet that is kept on")
    given = parser.parse_args()
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(main(given.url, given.group, Start.FIRST if given.first else Start.LIVE))
    except aiomcast.MulticastError as error:
        sys.exit(str(error))
