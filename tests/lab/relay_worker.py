"""A relay in a process of its own: `python -m tests.lab.relay_worker URL NAME FILE GROUP PORT IDENTITY`.

Each payload that is received has its first 4 bytes appended to FILE; what is logged is in FILE.log.
At SIGTERM it ends, and prints its statistics as JSON. "joined" is printed when
it has joined.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys

import attrs

from aiomcast import PacketStream, Receiver
from aiomcast.feeds import Sequence
from aiomcast.relay import JetStream, PayloadIdentity, Relay, SequenceIdentity


async def main(url: str, name: str, path: str, group: str, port: str, identity: str) -> None:
    known = PayloadIdentity() if identity == "payload" else SequenceIdentity(Sequence.parse(identity))
    async with Receiver(receive_buffer=8 << 20) as receiver, JetStream(url, create=True) as server:
        membership = await receiver.join(group, int(port), interface="v0")
        written = asyncio.create_task(_write(membership.packets(), path))
        relay = Relay(membership.packets(), server, name=name, identity=known)
        running = asyncio.create_task(relay.run())
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, running.cancel)
        print("joined", flush=True)
        await asyncio.wait([running])
        written.cancel()
        if not running.cancelled():
            running.result()
        print(json.dumps(attrs.asdict(relay.statistics())), flush=True)


async def _write(stream: PacketStream, path: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    async with stream.batches() as batches:
        async for batch in batches:
            os.write(descriptor, b"".join(packet.data[:4] for packet in batch))


if __name__ == "__main__":
    logging.basicConfig(filename=f"{sys.argv[3]}.log", level=logging.INFO)
    asyncio.run(main(*sys.argv[1:]))
