"""What a packet costs in system calls when packets come one at a time, counted by strace."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from aiomcast import reading

PACKETS = 200
SLACK = 20  # calls in all: timers, and the ends

# Each packet has the next one sent, so that one is read at a time.
RECEIVE = """
import asyncio, socket, sys
import aiomcast

how, loop, packets = sys.argv[1], sys.argv[2], int(sys.argv[3])
group = "232.7.8.9"


def connected(port):
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.bind(("127.0.0.2", 0))
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
    sender.connect((group, port))
    return sender


class Counting(aiomcast.MulticastProtocol):
    def __init__(self):
        self.count, self.done = 0, asyncio.get_running_loop().create_future()

    def datagram_received(self, data, addr):
        self.count += 1
        if self.count < packets:
            self.sender.send(b"next")
        else:
            self.done.set_result(None)


async def endpoint():
    transport, protocol = await aiomcast.create_multicast_endpoint(Counting, group, 0, interface="lo")
    protocol.join_source("127.0.0.2")
    protocol.sender = connected(transport.get_extra_info("sockname")[1])
    protocol.sender.send(b"first")
    await protocol.done
    transport.close()


async def iterate(feed, units):
    sender, count = connected(feed.port), 0
    sender.send(b"first")
    async for unit in units:
        count += 1
        if count == packets:
            return
        sender.send(b"next")


async def stream():
    async with aiomcast.listen(group, 0, sources=["127.0.0.2"], interface="lo") as feed:
        await iterate(feed, feed if how == "packets" else feed.batches())


work = endpoint if how == "endpoint" else stream
if loop == "uvloop":
    from uvloop import new_event_loop
else:
    new_event_loop = asyncio.new_event_loop
with asyncio.Runner(loop_factory=new_event_loop) as runner:
    runner.run(work())
"""


@pytest.mark.skipif(reading.implementation != "native", reason="the compiled reader's alone")
@pytest.mark.parametrize(
    ("how", "loop", "calls"),
    [
        ("endpoint", "asyncio", 2),
        ("endpoint", "uvloop", 2),
        ("packets", "asyncio", 2),
        ("packets", "uvloop", 2),
        ("batches", "asyncio", 2),
        ("batches", "uvloop", 2),
    ],
)
def test_calls_per_packet(lab: None, tmp_path: Path, how: str, loop: str, calls: int) -> None:
    if shutil.which("strace") is None:
        missing = pytest.fail if os.environ.get("AIOMCAST_REQUIRE_LAB") == "1" else pytest.skip
        missing("needs strace")
    pytest.importorskip(loop)
    written = tmp_path / "calls"
    subprocess.run(
        ["strace", "-o", written, sys.executable, "-c", RECEIVE, how, loop, str(PACKETS)],
        check=True,
        timeout=60,
    )
    lines = written.read_text().splitlines()
    first, last = (
        next(place for place, line in order if '"first"' in line or '"next"' in line)
        for order in (enumerate(lines), reversed(list(enumerate(lines))))
    )
    counted = Counter(match[0] for line in lines[first:last] if (match := re.match(r"\w+", line)))
    sent = counted.pop("sendto")
    assert sent >= PACKETS - 2
    assert counted.total() <= calls * PACKETS + SLACK, counted
