"""Follow one source at a time: each time enough packets came, swap to the next.

On loopback, without privileges:

    python examples/swap.py --after 5 &
    aiomcast send 232.1.1.1 5000 --source 127.0.0.2 --interface lo --rate 10 &
    aiomcast send 232.1.1.1 5000 --source 127.0.0.3 --interface lo --rate 10
"""

import argparse
import asyncio
import contextlib
import itertools

import aiomcast


async def main(group: str, port: int, sources: list[str], interface: str | None, after: int) -> None:
    following = itertools.cycle(sources)
    async with aiomcast.listen(group, port, sources=[next(following)], interface=interface) as feed:
        print(f"listening on {feed.interface.name}", flush=True)
        for turn in itertools.count(1):
            left = after
            async for packet in feed:  # goes on where the last turn stopped
                print(turn, packet.source, packet.data, flush=True)
                left -= 1
                if not left:
                    break
            else:
                return
            # From here on no packet of the source before comes, also none that waits already.
            await feed.swap({next(following)})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("group", nargs="?", default="232.1.1.1")
    parser.add_argument("port", nargs="?", type=int, default=5000)
    parser.add_argument("--source", action="append", help="one to follow; repeat (default: 127.0.0.2 and .3)")
    parser.add_argument("--interface", default="lo", help="name, index or address (default: lo)")
    parser.add_argument("--after", type=int, default=10, help="packets before a swap (default: 10)")
    given = parser.parse_args()
    followed = given.source or ["127.0.0.2", "127.0.0.3"]
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(given.group, given.port, followed, given.interface, given.after))
