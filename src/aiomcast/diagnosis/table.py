"""From facts to verdicts: the rules in the order in which they count. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from . import arrival_rules as arrival
from . import host_rules as host
from .facts import Facts
from .verdicts import Verdict, VerdictKind

__all__ = ["decide"]

_RULES: Final[tuple[Callable[[Facts], Iterator[Verdict]], ...]] = (
    host.unread,
    host.doubtful,
    host.own_source,
    host.ghost,
    host.old_querier,
    host.reports_dropped,
    host.self_test,
    arrival.rp_filter,
    arrival.checksum,
    arrival.fragments,
    arrival.frames_dropped,
    arrival.wrong_port,
    arrival.input_drops,
    arrival.wrong_source,
    arrival.tagged,
    host.loop_off,
    host.drops,
    host.queries_dropped,
)
# Each says less than those above, and nothing beside one that has said what it is.
_GENERAL: Final = (arrival.dropped_on_the_way, arrival.other_traffic)


def decide(facts: Facts) -> list[Verdict]:
    """Return the verdicts that the facts fit, the first that counts first; one at least.

    Where packets come there is that one alone, but for drops at the socket.
    """
    coming = list(host.flows(facts))
    if coming:
        return [*coming, *host.drops(facts)]
    first: dict[VerdictKind, Verdict] = {}
    for rule in _RULES:
        for verdict in rule(facts):
            first.setdefault(verdict.kind, verdict)
    found = list(first.values())
    for rule in _GENERAL:
        found = found or list(rule(facts))
    if not any(one.is_cause for one in found):
        found.append(_upstream(facts))
    return found


def _upstream(facts: Facts) -> Verdict:
    evidence = list(_of_the_querier(facts))
    if facts.probes.source_answers:
        evidence.append("the source is alive: it has refused a datagram")
    if facts.probes.real_sources == ():
        evidence.append("nobody sends to the group and port, whichever source is let in")
    if facts.is_on_loopback:
        return Verdict(
            VerdictKind.UPSTREAM,
            f"of those who are let in, nobody on this host sends to {facts.group} port {facts.port} on "
            f"{facts.interface}",
            f"have the sender send on {facts.interface}, or name the interface that it sends on",
        )
    if not facts.probes.reports_leave:
        return Verdict(
            VerdictKind.UNKNOWN,
            "nothing comes in, and no cause is seen here; whether the membership is reported was not seen",
            f"tcpdump -ni {facts.interface} shows the reports, and whether frames come in",
            tuple(evidence),
        )
    return Verdict(
        VerdictKind.UPSTREAM,
        "this host reports its membership, and nothing comes in: the source is silent, sends to another "
        "group, out of another interface or with too small a TTL, or a switch or router does not forward it",
        "at the source: tcpdump shows what it sends. On the router: ip mroute show (none, or unresolved: PIM "
        "or the reverse path; resolved, and no packets: the TTL)",
        ("a report of this host has left", *evidence),
    )


def _of_the_querier(facts: Facts) -> Iterator[str]:
    for version, source in facts.capture.queries.items() if facts.capture else ():
        yield f"{source} asks for memberships, in version {version}"
    if more := facts.grown("Icmp6InGroupMembQueries"):
        yield f"memberships are asked for (Icmp6InGroupMembQueries has grown by {more})"
