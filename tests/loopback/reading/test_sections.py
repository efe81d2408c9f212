"""Without the global interpreter lock no thread waits for itself: no packet has a section entered in itself.

Who enters a critical section that he is in gives it up first, and until then yields the processor 40 times.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.support.readers import native

pytestmark = [
    pytest.mark.skipif(native is None, reason="the compiled reader was not built"),
    pytest.mark.skipif(
        not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this Python is not free-threaded"
    ),
]

YIELDS = """
#include <sched.h>
long yields;
int sched_yield(void) { yields++; return 0; }
"""

# What a service does with one event loop in its only thread.
RECEIVE = """
import asyncio, ctypes
import aiomcast
from tests.support.sending import sending

GROUP, SOURCES = "232.7.8.10", ["127.0.0.2", "127.0.0.3"]
yields = ctypes.c_long.in_dll(ctypes.CDLL(None), "yields")


class Counting(aiomcast.MulticastProtocol):
    def datagram_received(self, data, addr):
        self.left -= 1
        if not self.left:
            self.done.set_result(None)

    def expect(self, count):
        self.left, self.done = count, asyncio.get_running_loop().create_future()
        return self.done


async def endpoint():
    transport, protocol = await aiomcast.create_multicast_endpoint(Counting, GROUP, 0, interface="lo")
    protocol.join_source(SOURCES[0])
    sender = sending(SOURCES[0], GROUP, transport.get_extra_info("sockname")[1])
    for burst in [1] * 50 + [20] * 5:
        done = protocol.expect(burst)
        for _ in range(burst):
            sender.send(b"one")
        await done
    transport.close()


async def streams():
    async with aiomcast.listen(GROUP, 0, sources=SOURCES, interface="lo") as feed:
        senders = [sending(source, GROUP, feed.port) for source in SOURCES]
        packets = feed.packets()
        for number in range(100):
            for sender in senders:
                sender.send(b"%d" % number)
            for _ in senders:
                await anext(packets)
            if number % 10 == 0:
                await feed.swap([SOURCES[1]])
                await feed.swap(SOURCES)
                feed.statistics()
        await packets.aclose()
        batches, left = feed.batches(), 30
        for _ in range(30):
            senders[0].send(b"more")
        async for batch in batches:
            left -= len(batch)
            if not left:
                break


def work():
    asyncio.run(endpoint())
    asyncio.run(streams())


work()  # types are made, in sections of Python's own that it enters twice
before = yields.value
work()
print(yields.value - before)
"""


def test_one_thread_waits_for_nobody(tmp_path: Path) -> None:
    library = tmp_path / "yields.so"
    source = tmp_path / "yields.c"
    source.write_text(YIELDS)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True, timeout=60)
    done = subprocess.run(
        [sys.executable, "-c", RECEIVE],
        env=os.environ | {"LD_PRELOAD": str(library), "AIOMCAST_READING": "native"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    assert int(done.stdout) == 0
