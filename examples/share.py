"""One of several hosts that divide channels among them, and relay each its own, until it is stopped.

nats-server -js &
python examples/share.py nats://127.0.0.1:4222 --name a &
python examples/share.py nats://127.0.0.1:4222 --name b &
"""

import argparse
import asyncio
import signal
import sys

import aiomcast
from aiomcast.relay import JetStream, JetStreamLeases, Relay, SharedChannel, Sharing


async def main(url: str, channels: list[SharedChannel], name: str | None, lease: float) -> None:
    async with aiomcast.Receiver() as receiver, JetStream(url, create=True) as server:
        sharing = Sharing(JetStreamLeases(server, lease=lease), channels, name=name, lease=lease)
        work = [
            asyncio.create_task(Relay(receiver, server, name=name).run()),
            asyncio.create_task(sharing.run(receiver)),
            asyncio.create_task(tell(sharing, len(channels))),
        ]
        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        until_stopped = asyncio.create_task(stopped.wait())
        await asyncio.wait([*work, until_stopped], return_when=asyncio.FIRST_COMPLETED)
        until_stopped.cancel()
        for task in work:
            task.cancel()
        for outcome in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome


async def tell(sharing: Sharing, count: int) -> None:
    told = -1
    while True:
        if told != len(sharing.joined):
            told = len(sharing.joined)
            print(f"has {told} of {count} channels", flush=True)
        await asyncio.sleep(0.1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("url", help="nats://HOST:PORT")
    parser.add_argument("--group", default="232.1.1.", help="how the groups begin (default: 232.1.1.)")
    parser.add_argument("--count", type=int, default=20, help="how many groups (default: 20)")
    parser.add_argument("--source", default="127.0.0.2", help="whose packets (default: 127.0.0.2)")
    parser.add_argument("--interface", default="lo", help="name, index or address (default: lo)")
    parser.add_argument("--name", help="what tells the hosts apart (default: the host's name)")
    parser.add_argument("--lease", type=float, default=3.0, help="seconds (default: 3)")
    given = parser.parse_args()
    groups = [
        SharedChannel.of(f"{given.group}{number}", 5000, sources=[given.source], interface=given.interface)
        for number in range(1, given.count + 1)
    ]
    try:
        asyncio.run(main(given.url, groups, given.name, given.lease))
    except aiomcast.MulticastError as error:
        sys.exit(str(error))
