"""Write the transport stream that comes to a group, in RTP or bare, to a file that players open.

RTP is put in order first, and what is lost is told. On loopback, without privileges:

    python examples/rtp_to_ts.py out.ts &
    ffmpeg -re -f lavfi -i testsrc -t 5 -f rtp_mpegts "rtp://232.1.1.1:5004?localaddr=127.0.0.1"
"""

import argparse
import asyncio
import signal
import sys
from pathlib import Path
from typing import BinaryIO

import aiomcast
from aiomcast.feeds import Gap, Restart, Sequence, SequenceCounter, gaps, merge


def payload(data: bytes) -> bytes:
    """Return what an RTP packet carries (RFC 3550, section 5.1)."""
    begin = 12 + 4 * (data[0] & 15)
    if data[0] & 0x10:
        begin += 4 + 4 * int.from_bytes(data[begin + 2 : begin + 4], "big")
    return data[begin : len(data) - data[-1] if data[0] & 0x20 else None]


async def main(out: BinaryIO, group: str, port: int, source: str, interface: str, bare: bool) -> None:
    number = Sequence.mpegts() if bare else Sequence.rtp()
    continuity = SequenceCounter(Sequence.mpegts())
    async with aiomcast.listen(group, port, sources=[source], interface=interface) as feed:
        items = gaps(feed, number) if bare else merge(feed, sequence=number, hold=0.2)
        loop = asyncio.get_running_loop()
        for one in (signal.SIGINT, signal.SIGTERM):  # the stream ends then, after what has come
            loop.add_signal_handler(one, lambda: loop.create_task(items.aclose()))
        print(f"writing {group} to {out.name}", flush=True)
        async with items:
            async for item in items:
                if isinstance(item, Gap):
                    print(f"{item.count} lost before {item.last}", flush=True)
                elif not isinstance(item, Restart):
                    data = item.data if bare else payload(item.data)
                    continuity.take(data)
                    out.write(data)
    counted = continuity.statistics()
    print(f"{counted.received} transport packets, {counted.lost} lost", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", help="what is written, as out.ts")
    parser.add_argument("group", nargs="?", default="232.1.1.1")
    parser.add_argument("port", nargs="?", type=int, default=5004)
    parser.add_argument("--source", default="127.0.0.1", help="whose packets (default: 127.0.0.1)")
    parser.add_argument("--interface", default="lo", help="name, index or address (default: lo)")
    parser.add_argument("--bare", action="store_true", help="there is no RTP around it")
    given = parser.parse_args()
    try:
        with Path(given.file).open("wb") as out:
            asyncio.run(main(out, given.group, given.port, given.source, given.interface, given.bare))
    except (OSError, aiomcast.MulticastError) as error:
        sys.exit(str(error))
