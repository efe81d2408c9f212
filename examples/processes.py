"""Groups divided among processes, each with an event loop of its own, which tell the first one.

On loopback, without privileges:

    python examples/processes.py --processes 2 232.1.1.1 232.1.1.2 232.1.1.3 232.1.1.4 &
    aiomcast send 232.1.1.1 5000 --source 127.0.0.2 --interface lo --rate 1000
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import signal
import sys
from multiprocessing.connection import Connection

import aiomcast


def work(pipe: Connection, groups: list[str], port: int, source: str, interface: str) -> None:
    """Be one of the processes, from its beginning to its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all: the first one ends them
    try:
        asyncio.run(listen(pipe, groups, port, source, interface))
    except aiomcast.MulticastError as error:
        with contextlib.suppress(OSError):  # it is gone itself
            pipe.send(error)


async def listen(pipe: Connection, share: list[str], port: int, source: str, interface: str) -> None:
    counts = dict.fromkeys(share, 0)
    async with aiomcast.Receiver() as receiver:
        for group in share:
            await receiver.join(group, port, sources=[source], interface=interface)
        telling = asyncio.create_task(tell(pipe, counts))
        taking = asyncio.create_task(take(receiver, counts))
        # Nothing is ever sent to here: it is readable once the parent has closed it, or has died.
        asyncio.get_running_loop().add_reader(pipe.fileno(), taking.cancel)
        await asyncio.wait([taking, telling], return_when=asyncio.FIRST_COMPLETED)
        telling.cancel()
        taking.cancel()
        for outcome in await asyncio.gather(taking, telling, return_exceptions=True):
            if isinstance(outcome, Exception) and not isinstance(outcome, ConnectionError):
                raise outcome


async def take(receiver: aiomcast.Receiver, counts: dict[str, int]) -> None:
    async for batch in receiver.batches():
        for packet in batch:
            counts[packet.group] += 1  # whatever is to be done with each is done here


async def tell(pipe: Connection, counts: dict[str, int]) -> None:
    told: dict[str, int] = {}
    while True:
        if counts != told:
            told = counts.copy()
            pipe.send(told)
        await asyncio.sleep(0.1)


async def main(groups: list[str], processes: int, port: int, source: str, interface: str) -> None:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    failed: list[Exception] = []
    spawn = multiprocessing.get_context("spawn")  # a fork would take loop and sockets along

    def hear(child: Connection, number: int) -> None:
        try:
            told = child.recv()
        except EOFError:
            told = RuntimeError(f"process {number} has ended")
        if isinstance(told, Exception):
            failed.append(told)
            loop.remove_reader(child.fileno())
            stopped.set()
        else:
            print(f"process {number}:", *[f"{group} {count}" for group, count in told.items()], flush=True)

    for sign in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sign, stopped.set)
    children = []
    for number in range(processes):
        ours, theirs = spawn.Pipe()
        # Each group in one process alone: the kernel hands a copy to every one that has joined.
        share = groups[number::processes]
        process = spawn.Process(target=work, args=(theirs, share, port, source, interface))
        process.start()
        theirs.close()
        children.append((process, ours))
        loop.add_reader(ours.fileno(), hear, ours, number + 1)
    await stopped.wait()
    for process, ours in children:
        loop.remove_reader(ours.fileno())
        ours.close()
        process.join()
    if failed:
        raise failed[0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("groups", nargs="*", default=["232.1.1.1", "232.1.1.2"])
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, help="(default: all processors)"
    )
    parser.add_argument("--port", type=int, default=5000)
    parser.add_argument("--source", default="127.0.0.2", help="whose packets (default: 127.0.0.2)")
    parser.add_argument("--interface", default="lo", help="name, index or address (default: lo)")
    given = parser.parse_args()
    count = min(given.processes, len(given.groups))
    try:
        asyncio.run(main(given.groups, count, given.port, given.source, given.interface))
    except (aiomcast.MulticastError, RuntimeError) as error:
        sys.exit(str(error))
