"""What joining, leaving and counting cost in system calls, counted by strace: how many interfaces there are
has no part in it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .place import Place

OTHERS = 40
MEMBERSHIPS = 20

WORK = """
import asyncio, os, sys
import aiomcast

near, memberships = sys.argv[1], int(sys.argv[2])
found, = [one for one in aiomcast.list_interfaces() if one.name == near]
ways = {"Interface": found, "name": near, "index": found.index, "address": found.addresses[0], "route": None}
marks = os.open(os.devnull, os.O_WRONLY)


def mark(said):
    os.write(marks, b"mark " + said.encode())


async def work():
    async with aiomcast.Receiver() as receiver:
        sources = ["192.0.2.9"]
        for way, interface in ways.items():
            for turn in ("first", "again"):  # at first there is more to do
                mark(f"join {way} {turn}")
                feed = await receiver.join("232.1.1.1", 5000, sources=sources, interface=interface)
                mark(f"leave {way} {turn}")
                await feed.leave()
                mark("end")
        for number in range(memberships):
            await receiver.join(f"232.1.2.{number}", 5000, sources=sources, interface=found)
        mark("statistics")
        receiver.statistics()
        mark("end")


asyncio.run(work())
"""

# To know the limit of sources takes 4, to open a socket and join 12, to see if anything can come 6, to look
# the interface up the rest. Who follows the route has 4 more for being told of routes.
JOIN = {"Interface": 22, "name": 31, "index": 31, "address": 36, "route": 37}
LEAVE = {"Interface": 6, "name": 6, "index": 6, "address": 6, "route": 10}
SLACK = 3


def _calls(written: Path) -> dict[str, list[str]]:
    """Return the system calls of each part, by its mark, in the namespace of the calling thread."""
    subprocess.run(
        ["strace", "-e", "trace=!%memory", "-o", written, sys.executable, "-c", WORK, "v0", str(MEMBERSHIPS)],
        check=True,
        timeout=60,
    )
    found: dict[str, list[str]] = {}
    calls: list[str] = []
    for line in written.read_text().splitlines():
        if said := re.search(r'write\(\d+, "mark (.*?)"', line):
            calls = found.setdefault(said[1], [])
        elif name := re.match(r"\w+(?=\()", line):
            calls.append(name[0])
    return found


def test_the_number_of_interfaces_has_no_part_in_it(lab: None, tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        missing = pytest.fail if os.environ.get("AIOMCAST_REQUIRE_LAB") == "1" else pytest.skip
        missing("needs strace")
    with Place() as place:
        place.cable("v0", "p0", "192.0.2.1/24")
        place.ip("route add 232.0.0.0/8 dev v0")
        alone = _calls(tmp_path / "alone")
        place.batch(
            *[f"link add x{number} type veth peer name y{number}" for number in range(OTHERS)],
            *[f"addr add 198.51.100.{number + 1}/32 dev x{number}" for number in range(OTHERS)],
            *[f"link set x{number} up" for number in range(OTHERS)],
        )
        among = _calls(tmp_path / "among")
    for way in JOIN:
        for what, most in (("join", JOIN[way]), ("leave", LEAVE[way])):
            calls = alone[f"{what} {way} again"]
            assert len(calls) <= most + SLACK, calls
            assert among[f"{what} {way} again"] == calls
    for told in (alone, among):
        assert told["statistics"] == ["getsockopt"] * MEMBERSHIPS
