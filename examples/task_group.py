"""Two feeds into one task group: each has a task, all share one queue, an error ends them all.

On loopback, without privileges:

    python examples/task_group.py &
    aiomcast send 232.1.1.1 5000 --source 127.0.0.2 --interface lo &
    aiomcast send 232.1.1.2 5000 --source 127.0.0.3 --interface lo
"""

import argparse
import asyncio
import contextlib

import aiomcast


async def take(membership: aiomcast.Membership, into: asyncio.Queue[aiomcast.Packet]) -> None:
    async for packet in membership:
        await into.put(packet)  # waits while the queue is full; then the membership's stream fills


async def main(feeds: list[tuple[str, str]], port: int, interface: str | None) -> None:
    merged: asyncio.Queue[aiomcast.Packet] = asyncio.Queue(maxsize=1000)
    async with aiomcast.Receiver() as receiver, asyncio.TaskGroup() as tasks:
        for source, group in feeds:
            membership = await receiver.join(group, port, sources={source}, interface=interface)
            tasks.create_task(take(membership, merged))
        print(f"listening to {len(feeds)} feeds", flush=True)
        while True:
            packet = await merged.get()
            print(packet.group, packet.source, packet.data, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("feeds", nargs="*", help="SOURCE@GROUP (default: the two above)")
    parser.add_argument("--port", type=int, default=5000)
    parser.add_argument("--interface", default="lo", help="name, index or address (default: lo)")
    given = parser.parse_args()
    texts = given.feeds or ["127.0.0.2@232.1.1.1", "127.0.0.3@232.1.1.2"]
    pairs = [(source, group) for source, _, group in (text.partition("@") for text in texts)]
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(pairs, given.port, given.interface))
