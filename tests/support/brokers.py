"""Real servers for relays: nats-server and redis-server, each with a folder and a port of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

import pytest

__all__ = ["NatsServer", "RedisServer", "Server", "needs_nats", "needs_redis"]

_PATIENCE = 10.0  # seconds


def _needs(program: str) -> pytest.MarkDecorator:
    is_missing = shutil.which(program) is None and os.environ.get("AIOMCAST_REQUIRE_LAB") != "1"
    return pytest.mark.skipif(is_missing, reason=f"{program} is not installed")


needs_nats = _needs("nats-server")
needs_redis = _needs("redis-server")


def _is_stopped(process: int) -> bool:
    """Whether no thread of a process runs: proc(5), the third field of stat."""
    stats = [task.read_text() for task in Path(f"/proc/{process}/task").glob("*/stat")]
    return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)


class Server:
    """A server process in the calling thread's network namespace. A context manager."""

    scheme = ""

    def __init__(self, folder: Path, address: str = "127.0.0.1", port: int = 0) -> None:
        self.folder = folder
        self.address = address
        self.port = port or _free_port(address)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"{self.scheme}://{self.address}:{self.port}"

    def command(self) -> list[str]:
        """What starts it."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder)
        deadline = time.monotonic() + _PATIENCE
        while True:
            with contextlib.suppress(OSError), socket.create_connection((self.address, self.port), 1):
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{self.command()[0]} did not start: {(self.folder / 'log').read_text()}")
            time.sleep(0.01)

    def send(self, number: int) -> None:
        """Send it a signal, while it runs. Where that stops it, it has stopped when this returns."""
        assert self._process is not None
        self._process.send_signal(number)
        deadline = time.monotonic() + _PATIENCE
        # Before the thread that takes the signal has had its turn, the others go on.
        while number == getattr(signal, "SIGSTOP", None) and not _is_stopped(self._process.pid):
            assert time.monotonic() < deadline, "it goes on"
            time.sleep(0.001)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it by a signal, and wait until it has ended."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(_PATIENCE)
            self._process = None

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class NatsServer(Server):
    """nats-server with JetStream. `configuration` is added to its file."""

    scheme = "nats"

    def __init__(
        self,
        folder: Path,
        address: str = "127.0.0.1",
        port: int = 0,
        *,
        jetstream: bool = True,
        configuration: str = "",
    ) -> None:
        super().__init__(folder, address, port)
        self._jetstream = jetstream
        self._configuration = configuration

    def command(self) -> list[str]:
        store = f'jetstream {{ store_dir: "{self.folder / "store"}" }}\n' if self._jetstream else ""
        written = f'listen: "{self.address}:{self.port}"\n{store}{self._configuration}\n'
        (self.folder / "nats.conf").write_text(written)
        return ["nats-server", "-c", str(self.folder / "nats.conf")]


class RedisServer(Server):
    """redis-server with an append-only file. `options` are added to its command line."""

    scheme = "redis"

    def __init__(self, folder: Path, address: str = "127.0.0.1", port: int = 0, *options: str) -> None:
        super().__init__(folder, address, port)
        self._options = options

    def command(self) -> list[str]:
        bound = ["--bind", self.address, "--port", str(self.port), "--dir", str(self.folder)]
        return ["redis-server", *bound, "--save", "", "--appendonly", "yes", *self._options]


def _free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])
