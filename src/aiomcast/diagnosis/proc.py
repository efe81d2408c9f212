"""The counters and tables of /proc/net as they are written there (proc(5)), made numbers. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from .facts import PortSocket

__all__ = ["igmp_version", "interface_counters", "paired", "port_sockets", "single"]

_RECEIVED, _DROPPED = 1, 3  # the fields of a line of /proc/net/dev, of which the name is not one


def paired(table: str) -> dict[str, int]:
    """Return the counters of /proc/net/snmp or netstat: a line of names, then one of numbers."""
    lines = table.splitlines()
    found: dict[str, int] = {}
    for names, numbers in zip(lines[::2], lines[1::2], strict=False):
        head, *each = names.split()
        found |= zip((head.rstrip(":") + name for name in each), map(int, numbers.split()[1:]), strict=False)
    return found


def single(table: str) -> dict[str, int]:
    """Return the counters of /proc/net/snmp6, or of one interface: a name and a number in each line."""
    pairs = (line.split() for line in table.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}


def interface_counters(table: str, name: str) -> dict[str, int]:
    """Return "rx_packets" and "rx_dropped" of an interface from /proc/net/dev, and "lo_packets" of loopback.

    Nothing of what is not there.
    """
    found: dict[str, int] = {}
    for line in table.splitlines():
        # A name may hold a colon, the numbers do not.
        head, _, numbers = line.rpartition(":")
        fields = numbers.split()
        if head.strip() == name:
            found |= {"rx_packets": int(fields[_RECEIVED]), "rx_dropped": int(fields[_DROPPED])}
        if head.strip() == "lo":
            found["lo_packets"] = int(fields[_RECEIVED])
    return found


def igmp_version(table: str, index: int) -> int | None:
    """Return the version that the interface with this index reports by, from /proc/net/igmp."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        if not line[:1].isspace() and fields and fields[0] == str(index):
            return int(fields[-1].removeprefix("V"))
    return None


def port_sockets(table: str, port: int) -> Iterator[PortSocket]:
    """Yield the sockets on `port` of /proc/net/udp or udp6."""
    wanted = f":{port:04X}"
    for line in table.splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(wanted):
            yield PortSocket(int(fields[9]), int(fields[4].partition(":")[2], 16), int(fields[12]))
