"""A recorder service: write what comes to a group to pcapng files of bounded size, until it is stopped.

On loopback, without privileges:

    python examples/recorder.py feed.pcapng &
    aiomcast send 232.1.1.1 5000 --source 127.0.0.2 --interface lo --rate 10
"""

import argparse
import asyncio
import signal
import sys

import aiomcast
from aiomcast.feeds import record


async def main(file: str, group: str, port: int, source: str, interface: str, megabytes: float) -> None:
    async with aiomcast.listen(group, port, sources=[source], interface=interface) as feed:
        # Leaving ends the stream, and so the recording: what has been read by then is written.
        loop, leaving = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, leaving.set)
        recording = asyncio.create_task(record(feed, file, rotate_bytes=int(megabytes * 1e6)))
        print(f"recording {group} on {feed.interface.name}", flush=True)
        stopped = asyncio.create_task(leaving.wait())
        await asyncio.wait({recording, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        await feed.leave()
        done = await recording
    print(f"{done.packets} packets, {done.dropped} dropped, in {', '.join(map(str, done.files))}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", help="NAME.pcapng: written are NAME-00001.pcapng and so on")
    parser.add_argument("group", nargs="?", default="232.1.1.1")
    parser.add_argument("port", nargs="?", type=int, default=5000)
    parser.add_argument("--source", default="127.0.0.2", help="whose packets (default: 127.0.0.2)")
    parser.add_argument("--interface", default="lo", help="name, index or address (default: lo)")
    parser.add_argument("--megabytes", type=float, default=100, help="of each file (default: 100)")
    given = parser.parse_args()
    try:
        asyncio.run(main(given.file, given.group, given.port, given.source, given.interface, given.megabytes))
    except aiomcast.MulticastError as error:
        sys.exit(str(error))
