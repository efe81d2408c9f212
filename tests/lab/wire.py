"""What IGMPv3 and MLDv2 hosts report on the wire, recorded and then decoded by tshark.

Only the reading of the wire lives here; the hosts are in `network`.
"""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

from .network import LabError, Network, stop

# RFC 3376, 4.2.12 and RFC 3810, 5.2.12. Types 1 and 2 answer queries: they state, not change.
STATE_CHANGES = {"3": "TO_IN", "4": "TO_EX", "5": "ALLOW", "6": "BLOCK"}

# A host sends a change twice (robustness), 100 ms apart at most in this lab: the same record
# within this many seconds is that repeat.
REPEAT_WINDOW = 0.5

_FILE_HEADER = 24  # octets of a pcap file before its first packet

# MLD carries a router alert (RFC 3810, 5), so it is what follows a hop-by-hop header.
_CAPTURE_FILTER = "igmp or (ip6 and ip6[6] == 0)"
_DISPLAY_FILTER = "igmp.type == 0x22 || icmpv6.type == 143"
# Of a record, as tshark names them: type, group, source.
_FIELDS = (
    ("igmp.record_type", "igmp.maddr", "igmp.saddr"),
    (
        "icmpv6.mldr.mar.record_type",
        "icmpv6.mldr.mar.multicast_address",
        "icmpv6.mldr.mar.source_address",
    ),
)


@dataclass(frozen=True, slots=True)
class Report:
    """One state-change record: TO_IN, TO_EX, ALLOW or BLOCK, with canonical addresses."""

    record_type: str
    group: str
    sources: frozenset[str]


class Capture:
    """Records IGMP and MLD on an interface of a namespace, from entry to exit.

    `Capture(network, "sw", "p-rcv")` sees what rcv reports. The interface "any" outlives the
    deletion of a single one. On entry the recording has begun: a report sent later is seen.
    """

    def __init__(self, network: Network, name: str = "sw", interface: str = "p-rcv") -> None:
        self._network = network
        self._name = name
        self._interface = interface
        self._recorded = bytearray()
        self._decoded_size = 0
        self._ended = False
        self._reports: list[Report] = []

    def __enter__(self) -> Capture:
        command, self._listening = _recording(self._interface)
        self._recorder = self._network.popen(
            self._name,
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pipesize=1 << 20,  # room for what is reported while nobody reads
        )
        try:
            self._wait_until_listening(5)
        except BaseException:
            stop(self._recorder)
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._drain()
        stop(self._recorder)
        self._ended = True

    def reports(self, group: str | None = None) -> list[Report]:
        """The state changes recorded so far, of one group or of all, in order, without repeats.

        A change that a host makes again on purpose counts only when it comes REPEAT_WINDOW
        after the first, or after a record that says otherwise. A record that has left the host
        a moment ago may not be in yet: for "nothing was reported", first wait for the report of
        something done later.
        """
        if not self._ended:
            self._drain()
        if len(self._recorded) > max(_FILE_HEADER, self._decoded_size):
            self._decode()
        wanted = None if group is None else str(ip_address(group))
        return [report for report in self._reports if wanted in (None, report.group)]

    def wait_for(
        self,
        predicate: Callable[[list[Report]], bool],
        timeout: float = 20,
        *,
        group: str | None = None,
    ) -> list[Report]:
        """Wait until `predicate(reports(group))` is true and return those reports.

        AssertionError with what was seen if it is not within `timeout` seconds. Blocks: under
        an event loop call it by asyncio.to_thread.
        """
        deadline = time.monotonic() + timeout
        while not predicate(seen := self.reports(group)):
            left = deadline - time.monotonic()
            if left <= 0 or not self._read(left):
                lines = "\n".join(f"  {report}" for report in seen) or "  nothing"
                state = "running" if self._recorder.poll() is None else "ended"
                raise AssertionError(
                    f"not on the wire at {self._interface} within {timeout} s "
                    f"(recorder {state}); seen:\n{lines}"
                )
        return seen

    def _wait_until_listening(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        said = b""
        while self._listening not in said:
            chunk = _read(self._recorder.stderr, max(0, deadline - time.monotonic()))
            if not chunk:
                raise LabError(f"no recording of {self._interface}: {said.decode()}")
            said += chunk

    def _read(self, timeout: float) -> bool:
        """Take what was recorded, waiting that long for it; False if there was nothing."""
        chunk = _read(self._recorder.stdout, timeout)
        self._recorded += chunk
        return bool(chunk)

    def _drain(self) -> None:
        while self._read(0):
            pass

    def _decode(self) -> None:
        command = ["tshark", "-n", "-r", "-", "-Y", _DISPLAY_FILTER, "-T", "pdml"]
        done = subprocess.run(command, input=self._recorded, capture_output=True, timeout=20)
        if done.returncode:
            if b"cut short" in done.stderr:
                return  # the rest of the packet is on its way, and will bring us here again
            raise LabError(f"tshark: status {done.returncode}: {done.stderr.decode()}")
        self._decoded_size = len(self._recorded)
        self._reports = _without_repeats(_records(ElementTree.fromstring(done.stdout)))


def _recording(interface: str) -> tuple[list[str], bytes]:
    """The command that records to its output, and what it says once it has begun."""
    if Path("/proc/self/setgroups").read_text().strip() == "deny":
        # In a user namespace tcpdump fails to drop its privileges, and dumpcap does not try.
        options = ["-q", "-P", "-i", interface, "-f", _CAPTURE_FILTER, "-w", "-"]
        return ["dumpcap", *options], b"File: -"
    # Immediate mode, or libpcap hands packets over only once a second.
    options = ["--immediate-mode", "-U", "-n", "-i", interface, "-w", "-", _CAPTURE_FILTER]
    return ["tcpdump", *options], b"listening on"


def _read(pipe: IO[bytes] | None, timeout: float) -> bytes:
    """What is in the pipe, waiting that long for it; empty if nothing came or it has ended."""
    assert pipe is not None
    ready, _, _ = select.select([pipe], [], [], timeout)
    return os.read(pipe.fileno(), 1 << 20) if ready else b""


def _records(document: ElementTree.Element) -> Iterator[tuple[float, Report]]:
    """Each state-change record with its time. PDML nests a record's fields in the record."""
    for packet in document.iter("packet"):
        time_field = packet.find("./proto[@name='geninfo']/field[@name='timestamp']")
        assert time_field is not None
        captured = float(time_field.attrib["value"])
        for record in packet.iter("field"):
            for type_name, group_name, source_name in _FIELDS:
                record_type = _values(record, type_name)
                if record_type and record_type[0] in STATE_CHANGES:
                    (group,) = _addresses(record, group_name)
                    sources = frozenset(_addresses(record, source_name))
                    yield captured, Report(STATE_CHANGES[record_type[0]], group, sources)


def _values(record: ElementTree.Element, name: str) -> list[str]:
    return [field.attrib["show"] for field in record.findall(f"./field[@name='{name}']")]


def _addresses(record: ElementTree.Element, name: str) -> list[str]:
    return [str(ip_address(value)) for value in _values(record, name)]


def _without_repeats(records: Iterable[tuple[float, Report]]) -> list[Report]:
    kept: list[Report] = []
    in_force: dict[Report, float] = {}
    for captured, report in records:
        if captured - in_force.get(report, float("-inf")) <= REPEAT_WINDOW:
            continue
        in_force = {other: first for other, first in in_force.items() if not _revokes(report, other)}
        in_force[report] = captured
        kept.append(report)
    return kept


def _revokes(later: Report, earlier: Report) -> bool:
    """Whether the earlier record, if it came once more, would be a change and not a repeat."""
    if later.group != earlier.group:
        return False
    if later.record_type.startswith("TO_"):
        return True
    # Only a mode change undoes a mode change.
    return (
        not earlier.record_type.startswith("TO_")
        and later.record_type != earlier.record_type
        and not later.sources.isdisjoint(earlier.sources)
    )
