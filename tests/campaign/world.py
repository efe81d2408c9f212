"""Where a run happens: a network namespace of its own, its addresses, limits, and what the system drops.

As an ordinary user there is no namespace: IPv4 on lo, with the limits as they are.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import subprocess
import threading
import time
from pathlib import Path
from typing import NamedTuple

from .history import Flow

__all__ = ["Limits", "Place", "Slot", "dropped", "is_root", "place", "prepare"]

_CLONE_NEWNET = 0x40000000
_LINK = "campaign"  # lo does not loop IPv6 multicast
_MSF = Path("/proc/sys/net/ipv4/igmp_max_msf")
_FOREVER_NS = 1 << 63
_DROPS_6 = {  # by whether it is of the link alone
    False: ("Udp6RcvbufErrors", "Udp6MemErrors"),
    True: ("Ip6OutDiscards",),
}
_PORT = 5000

# The senders' addresses lie between the strangers', which never send: a long list that is spread over
# several sockets has them on different ones.
_SOURCES = {
    4: ("127.0.0.2", "127.0.3.2", "127.0.6.2", "127.0.9.2"),
    6: ("2001:db8::2", "2001:db8:3::2", "2001:db8:6::2", "2001:db8:9::2"),
}
_STRANGERS = {
    4: [f"127.0.{block}.{host}" for host in range(100, 105) for block in range(1, 9)],
    6: [f"2001:db8:{block}::{host}" for host in range(100, 119) for block in range(1, 9)],
}


class Slot(NamedTuple):
    """What a membership can be of. In a source-specific range only lists of sources are meant."""

    group: str
    port: int
    source_specific: bool


class Place(NamedTuple):
    """What there is to send from, to join and to list."""

    family: int
    interface: str
    sources: tuple[str, ...]
    strangers: list[str]
    slots: list[Slot]

    @property
    def flows(self) -> list[Flow]:
        """Every source to every slot, slot by slot."""
        return [Flow(source, slot.group, slot.port) for slot in self.slots for source in self.sources]


def is_root() -> bool:
    """Whether namespaces and limits are ours to make."""
    return os.geteuid() == 0


def place(family: int) -> Place:
    """Return the place for a family. Another process of an ordinary user has other groups."""
    high, low = os.getpid() >> 8 & 255, os.getpid() & 255
    if family == 6:
        any_source, other, specific = (f"ff1e::{high:x}:{low:x}:{n}" for n in (1, 2, 3))
        specific = specific.replace("ff1e", "ff3e")
    else:
        any_source, other, specific = f"239.1.{high}.{low}", f"239.2.{high}.{low}", f"232.3.{high}.{low}"
    slots = [
        Slot(any_source, _PORT, False),
        Slot(other, _PORT, False),
        Slot(specific, _PORT, True),
        Slot(any_source, _PORT + 1, False),  # the same group once more
    ]
    return Place(family, _LINK if family == 6 else "lo", _SOURCES[family], _STRANGERS[family], slots)


def prepare() -> None:
    """Move this process, which has one thread, into a network namespace made ready for both families."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    for which in ("all", "default"):  # no address is to change its state while it runs
        Path(f"/proc/sys/net/ipv6/conf/{which}/accept_dad").write_text("0")
    commands = ["link set lo up", f"link add {_LINK} type veth peer name {_LINK}-end"]
    commands += [f"link set {_LINK}-end up", f"link set {_LINK} up"]
    commands += [f"addr add {source}/128 dev {_LINK} nodad" for source in _SOURCES[6]]
    batch = "\n".join(commands)
    subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True, capture_output=True)


def dropped() -> dict[str, int]:
    """Return what the system has dropped so far, by reason, whether or not a socket has counted it.

    Not what was discarded on the way in: that is also what meets a filter that is changing.
    """
    lines = Path("/proc/net/softnet_stat").read_text().splitlines()
    counts = {"backlog": sum(int(line.split()[1], 16) for line in lines)}
    snmp = [line.split() for line in Path("/proc/net/snmp").read_text().splitlines()]
    for names, values in zip(snmp[::2], snmp[1::2], strict=True):
        for name in ("OutDiscards", "RcvbufErrors", "MemErrors"):
            if name in names:
                counts[f"{names[0]} {name}"] = int(values[names.index(name)])
    for path in (Path("/proc/net/snmp6"), Path("/proc/net/dev_snmp6") / _LINK):
        for line in path.read_text().splitlines() if path.exists() else ():
            name, value = line.split()
            if name in _DROPS_6[path.name == _LINK]:
                counts[name] = int(value)
    return counts


class Limits:
    """Limits of the process and the namespace, changed while it runs. All threads share them.

    Files are made few by holding all others open, so that nothing is needed to have them back. As an
    ordinary user the limits of the namespace stay as they are.
    """

    def __init__(self, files: int) -> None:
        """`files` is how many may be open from now on."""
        self._lock = threading.Lock()
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most = files if hard == resource.RLIM_INFINITY else min(hard, files)
        resource.setrlimit(resource.RLIMIT_NOFILE, (self._most, self._most))
        self._placeholders: list[int] = []
        self._few_files: list[tuple[int, int]] = []  # (from, to) of the past
        self._few_since: int | None = None
        self._msf = int(_MSF.read_text())
        self.lowest_msf = self._msf
        self._msf_changes: list[tuple[int, int]] = []

    def few_files(self, spare: int) -> None:
        """Let only `spare` more files be opened."""
        with self._lock:
            if self._few_since is None:
                self._few_since = time.monotonic_ns()
            resource.setrlimit(resource.RLIMIT_NOFILE, (self._most, self._most))
            try:
                while True:
                    self._placeholders.append(os.dup(2))
            except OSError as error:
                if error.errno != errno.EMFILE:
                    raise
            for _ in range(min(spare, len(self._placeholders))):
                os.close(self._placeholders.pop())

    def many_files(self) -> None:
        """Let files be opened again."""
        with self._lock:
            while self._placeholders:
                os.close(self._placeholders.pop())
            if self._few_since is not None:
                self._few_files.append((self._few_since, time.monotonic_ns()))
                self._few_since = None

    def low_soft_limit(self) -> None:
        """Set the soft limit so that no more files can be opened until it is raised to the hard one."""
        with self._lock:
            soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            if self._few_since is None and soft == self._most:  # else there may be no file to ask with
                probe = os.dup(2)
                os.close(probe)
                resource.setrlimit(resource.RLIMIT_NOFILE, (max(probe, 32), self._most))

    def were_files_few(self, since: int) -> bool:
        """Whether files were few at any time from `since` on."""
        return self._few_since is not None or any(end > since for _, end in self._few_files)

    def set_msf(self, sources: int) -> None:
        """Let a socket list so many IPv4 sources."""
        with self._lock:
            # Noted before it is done: the other thread may meet it at once.
            self.lowest_msf = min(self.lowest_msf, sources)
            self._msf_changes.append((time.monotonic_ns(), _FOREVER_NS))
            _MSF.write_text(str(sources))
            self._msf_changes[-1] = self._msf_changes[-1][0], time.monotonic_ns()

    def did_msf_change(self, since: int) -> bool:
        """Whether that limit was changed from `since` on: a call then may have met either."""
        return any(end > since for _, end in self._msf_changes)

    def restore(self) -> None:
        """Put back everything."""
        self.many_files()
        if self._msf_changes:
            self.set_msf(self._msf)
