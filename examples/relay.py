"""A relay: what comes to a group is stored on a NATS server, until it is stopped. Run it on two hosts.

nats-server -js &
python examples/relay.py nats://127.0.0.1:4222 &
python examples/far.py nats://127.0.0.1:4222 &
aiomcast send 232.1.1.1 5000 --source 127.0.0.2 --interface lo --rate 10
"""

import argparse
import asyncio
import signal
import sys

import aiomcast
from aiomcast.relay import JetStream, Relay


async def main(url: str, group: str, port: int, source: str, interface: str, name: str | None) -> None:
    async with (
        aiomcast.listen(group, port, sources=[source], interface=interface) as feed,
        JetStream(url, create=True) as server,
    ):
        relay = Relay(feed, server, name=name)
        relaying = asyncio.create_task(relay.run())
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, relaying.cancel)
        print(f"relaying {group} as {relay.name}", flush=True)
        await asyncio.wait([relaying])  # what it has taken is stored before it ends
        if not relaying.cancelled():
            relaying.result()
    counted = relay.statistics()
    print(f"{counted.stored} stored, {counted.merged} there already, {counted.pending} pending", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("url", help="nats://HOST:PORT")
    parser.add_argument("group", nargs="?", default="232.1.1.1")
    parser.add_argument("port", nargs="?", type=int, default=5000)
    parser.add_argument("--source", default="127.0.0.2", help="whose packets (default: 127.0.0.2)")
    parser.add_argument("--interface", default="lo", help="name, index or address (default: lo)")
    parser.add_argument("--name", help="what tells relays apart (default: the host's name)")
    given = parser.parse_args()
    try:
        asyncio.run(main(given.url, given.group, given.port, given.source, given.interface, given.name))
    except aiomcast.MulticastError as error:
        sys.exit(str(error))
