"""A network namespace by itself, for what needs interfaces and no network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .network import SYSCTLS, _setns, execute, unique_name

__all__ = ["Place"]


class Place:
    """A new namespace with lo up; while it is entered, the calling thread is there. Gone at the end."""

    def __init__(self) -> None:
        self.namespace = unique_name()
        self._undoing = ExitStack()

    def __enter__(self) -> Place:
        with ExitStack() as building:
            execute(["ip", "netns", "add", self.namespace])
            building.callback(execute, ["ip", "netns", "del", self.namespace])
            home = building.enter_context(Path("/proc/thread-self/ns/net").open("rb"))
            with Path("/run/netns", self.namespace).open("rb") as there:
                _setns(there.fileno())
            building.callback(_setns, home.fileno())
            for key, value in SYSCTLS.items():
                Path("/proc/sys", key).write_text(str(value))
            self.ip("link set lo up")
            self._undoing = building.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._undoing.close()

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Move the calling thread here from another namespace, and back at the end."""
        with (
            Path("/proc/thread-self/ns/net").open("rb") as home,
            Path("/run/netns", self.namespace).open("rb") as there,
        ):
            _setns(there.fileno())
            try:
                yield
            finally:
                _setns(home.fileno())

    def ip(self, *commands: str) -> None:
        """Run each as `ip COMMAND`, such as "link set v0 down"."""
        for command in commands:
            execute(["ip", "-n", self.namespace, *command.split()])

    def batch(self, *commands: str) -> None:
        """Run them in one process: for very many."""
        execute(["ip", "-n", self.namespace, "-batch", "-"], input="\n".join(commands), timeout=60)

    def cable(self, near: str, far: str, *addresses: str) -> None:
        """Join two new interfaces, both up; the near one has the addresses."""
        self.ip(f"link add {near} type veth peer name {far}", f"link set {far} up", f"link set {near} up")
        for address in addresses:
            self.ip(f"addr add {address} dev {near}" + " nodad" * (":" in address))
