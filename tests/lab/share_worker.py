"""A member that relays its share, in a process of its own: `... URL NAME FOLDER COPIES LEASE COUNT SOURCES`.

Of each packet that its relay has taken the first 8 bytes are appended to FOLDER/NAME; what is logged is in
FOLDER/NAME.log, and the beginning and the end of each look at the leases, in nanoseconds, and who was there,
line by line in FOLDER/NAME.looks. At SIGTERM it ends, and prints its statistics as JSON.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping

import attrs

from aiomcast import Packet, Receiver
from aiomcast.feeds import Sequence
from aiomcast.relay import JetStream, JetStreamLeases, Relay, SequenceIdentity, SharedChannel, Sharing

PORT = 5000
PAYLOAD = "!II"  # the number of its channel, and its number there


def channels(count: int, source4: str, source6: str) -> list[SharedChannel]:
    """So many channels, of either family in turn."""
    return [
        SharedChannel.of(f"ff3e::9:{number:x}", PORT, sources=[source6], interface="v0")
        if number % 2
        else SharedChannel.of(
            f"232.9.{number // 250}.{number % 250 + 1}", PORT, sources=[source4], interface="v0"
        )
        for number in range(count)
    ]


class Watched:
    """Leases, and when they were looked at."""

    def __init__(self, leases: JetStreamLeases, path: str) -> None:
        self._leases = leases
        self._log = open(path, "a", buffering=1)  # noqa: SIM115  # for as long as the process runs
        self.renew = leases.renew
        self.give_up = leases.give_up

    async def members(self) -> Mapping[str, bytes]:
        began = time.time_ns()
        found = await self._leases.members()
        self._log.write(f"{began} {time.time_ns()} {','.join(sorted(found))}\n")
        return found


async def main(
    url: str, name: str, folder: str, copies: str, lease: str, count: str, source4: str, source6: str
) -> None:
    path = os.path.join(folder, name)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    known = SequenceIdentity(Sequence.at(4))

    def identify(packet: Packet) -> str:
        os.write(descriptor, packet.data[:8])
        return known(packet)

    async with Receiver() as receiver, JetStream(url, create=True) as server:
        sharing = Sharing(
            Watched(JetStreamLeases(server, lease=float(lease)), f"{path}.looks"),
            channels(int(count), source4, source6),
            name=name,
            copies=int(copies),
            lease=float(lease),
        )
        relay = Relay(receiver, server, name=name, identity=identify)
        relaying = asyncio.create_task(relay.run())
        work = [asyncio.create_task(sharing.run(receiver)), relaying]
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        waiting = asyncio.create_task(stopped.wait())
        await asyncio.wait([*work, waiting], return_when=asyncio.FIRST_COMPLETED)
        for task in (*work, waiting):
            task.cancel()
        for outcome in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome
        print(json.dumps(attrs.asdict(relay.statistics())), flush=True)


if __name__ == "__main__":
    logging.basicConfig(
        filename=os.path.join(sys.argv[3], f"{sys.argv[2]}.log"),
        level=logging.INFO,
        format="%(asctime)s %(name)s %(message)s",
    )
    asyncio.run(main(*sys.argv[1:]))
