"""The steady sender: a process that sends at a drawn rate until its standard input is closed.

`python -m tests.campaign.traffic` reads its orders (JSON) from the first line of its standard input,
says "sending", and at the end writes its log to standard output, as 64-bit numbers.
"""

from __future__ import annotations

import array
import json
import random
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from .history import Datagram, Flow
from .sending import Gun

__all__ = ["Shape", "Traffic"]

SENDER = 0
_ROOT = Path(__file__).parents[2]
_PATIENCE = 0.05  # seconds for a probe
_END = 30.0  # seconds for the process to end
_UNKNOWN = -1


class Shape(TypedDict):
    """How to send: datagrams a second in all, and how many go at once now and then."""

    seed: int
    rate: float
    burst: int


class Traffic:
    """The process. It runs in the network namespace of the thread that makes it."""

    def __init__(self, flows: Sequence[Flow], interface: str, shape: Shape) -> None:
        orders = {"flows": [list(flow) for flow in flows], "interface": interface, "shape": shape}
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__], cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(orders).encode() + b"\n")
        self._process.stdin.flush()
        if self._process.stdout.readline() != b"sending\n":
            raise RuntimeError(f"the sender ended with status {self._process.wait()}")

    def stop(self) -> list[Datagram]:
        """Send no more; return what was sent. RuntimeError if it has failed."""
        told, _ = self._process.communicate(b"", timeout=_END)
        if self._process.returncode:
            raise RuntimeError(f"the sender ended with status {self._process.returncode}")
        numbers = array.array("q")
        numbers.frombytes(told)
        rows = zip(*(numbers[start::5] for start in range(5)), strict=True)
        return [
            Datagram((SENDER, flow, number), begin, end, None if arrived == _UNKNOWN else arrived)
            for flow, number, begin, end, arrived in rows
        ]

    def kill(self) -> None:
        """End the process without its log, if it is there still."""
        self._process.kill()
        self._process.communicate()


def _send(gun: Gun, flows: int, shape: Shape) -> None:
    chance = random.Random(shape["seed"])
    sent, start = 0, time.perf_counter()
    while True:
        ahead = sent / shape["rate"] - (time.perf_counter() - start)
        if select.select([0], [], [], max(ahead, 0))[0]:
            return
        burst = chance.choice((1, 1, 1, 1, 2, shape["burst"]))
        for _ in range(burst):
            gun.fire(chance.randrange(flows))
        sent += burst


def _main() -> None:
    orders = json.loads(sys.stdin.buffer.readline())
    flows = [Flow(*flow) for flow in orders["flows"]]
    gun = Gun(SENDER, flows, orders["interface"], _PATIENCE)
    print("sending", flush=True)
    _send(gun, len(flows), orders["shape"])
    numbers = array.array("q")
    for (_, flow, number), begin, end, arrived in gun.log:
        numbers.extend((flow, number, begin, end, _UNKNOWN if arrived is None else arrived))
    gun.close()
    sys.stdout.buffer.write(numbers.tobytes())
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    _main()
