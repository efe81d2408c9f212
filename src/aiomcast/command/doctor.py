"""`aiomcast doctor`: why nothing comes to a group, to standard output."""

from __future__ import annotations

import argparse
import json
import shutil
import textwrap
from collections.abc import Iterable, Iterator

import aiomcast

from .naming import interface
from .options import channel, number
from .running import run

__all__ = ["define", "perform"]

_FLOWS, _CAUSE, _ELSEWHERE = 0, 1, 3
_DEFAULT = 3.0  # seconds
# Of the counters that have grown those say nothing that the others do not.
_OCTETS = ("Octets", "NoECTPkts", "ECT0Pkts", "ECT1Pkts", "CEPkts", "OutTransmits")


def define(command: argparse.ArgumentParser) -> None:
    """Find out why nothing comes to a group, and say what mends it.

    It joins, looks at what the system counts, and leaves. It needs no privilege; with CAP_NET_RAW it
    looks at the frames, too, and with CAP_NET_ADMIN at what nftables' rules have dropped. What it could
    not see it says. Without --probe it sends nothing but the reports that belong to a join.

    The status is 0 where packets come, 1 where a cause was found on this host, 3 where nothing is wrong
    here or nothing was found, 2 for wrong usage.
    """
    channel(command)
    add = command.add_argument
    add("-s", "--source", metavar="A", action="append", help="A source that is let in; several with commas.")
    add("-i", "--interface", metavar="I", help="Name, index or address; else by the route.")
    add(
        "--seconds",
        metavar="S",
        type=number(float, 0.01, 3600),
        default=_DEFAULT,
        help=f"How long to look (default: {_DEFAULT:g}).",
    )
    add("--probe", action="store_true", help="Send datagrams: to the group on this host, and to a source.")
    add(
        "-f",
        "--format",
        dest="form",
        choices=("text", "json"),
        default="text",
        help="What is written (default: text).",
    )


def perform(given: argparse.Namespace) -> int:
    """Do it, with the arguments that `define` declares, and return the status."""
    listed = [one for some in given.source or () for one in some.split(",")]
    found = run(
        aiomcast.diagnose(
            given.group,
            given.port,
            sources=listed or None,
            interface=interface(given.interface),
            seconds=given.seconds,
            probe=given.probe,
        )
    )
    if given.form == "json":
        print(json.dumps(found.as_dict()), flush=True)
    else:
        asked = f"{given.group} port {given.port} from {', '.join(listed or ['any source'])}"
        print("\n".join(_lines(found, asked)), flush=True)
    if found.verdict.is_flowing:
        return _FLOWS
    return _CAUSE if found.verdict.is_cause else _ELSEWHERE


def _lines(found: aiomcast.Diagnosis, asked: str) -> Iterator[str]:
    facts = found.facts
    looked = f", on {facts.interface}, looked at for {facts.seconds:.1f} s" if facts else ""
    yield from _wrapped(asked + looked, "")
    yield ""
    yield from _of(found.verdict)
    for one in found.others:
        yield ""
        yield from _wrapped(f"It could also be {one.kind.value}: {one.text}", "")
        yield from _remedy(one)
    if facts is not None:
        yield ""
        yield "Looked at"
        for line in _looked_at(facts):
            yield from _wrapped(line, "  ")
    if found.unseen:
        yield ""
        yield "Could not see"
        for line in found.unseen:
            yield from _wrapped(line, "  ")


def _of(verdict: aiomcast.Verdict) -> Iterator[str]:
    yield from _wrapped(f"{verdict.kind.value}: {verdict.text}", "")
    for line in verdict.evidence:
        yield from _wrapped(f"seen: {line}", "  ")
    yield from _remedy(verdict)


def _remedy(verdict: aiomcast.Verdict) -> Iterator[str]:
    if verdict.remedy:
        yield f"  mend: {verdict.remedy}"  # in one line, as it is to be copied


def _looked_at(facts: aiomcast.Facts) -> Iterator[str]:
    link = facts.after.link
    if link is not None:
        state = "running" if link.is_running else "up" if link.is_up else "down"
        yield f"interface {link.name}: {state}" + f", MTU {link.mtu}" * (link.mtu is not None)
    if facts.after.is_member is not None:
        yield f"member of the group: {_said(facts.after.is_member)}"
    if facts.probes.reports_leave is not None:
        yield f"its reports leave this host: {_said(facts.probes.reports_leave)}"
    if facts.after.igmp_version is not None:
        yield f"IGMP version {facts.after.igmp_version}, reverse path filter {facts.rp_filter}"
    for source, by in facts.routes.items():
        yield f"the route to {source}: " + (f"by {by}" if by else "none")
    for seen, count in facts.capture.seen.items() if facts.capture else ():
        way = "out" if seen.is_outgoing else "in"
        vlan = f" on VLAN {seen.vlan}" * bool(seen.vlan)
        yield f"{count} frames {way}: {seen.source} to {seen.group} port {seen.port}{vlan}"
    grown = [f"{name} +{more}" for name, more in facts.growth.items() if not name.endswith(_OCTETS)]
    yield "counters: " + (", ".join(grown) or "none has grown")


def _wrapped(text: str, indent: str) -> Iterable[str]:
    width = shutil.get_terminal_size().columns
    return textwrap.wrap(
        text,
        max(width, 40),
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _said(is_so: bool) -> str:
    return "yes" if is_so else "no"
