"""`diagnose`: why nothing comes to a group and port of this host."""

from __future__ import annotations

import asyncio
import errno
import math
from functools import partial

from ..errors import ArgumentError, ArgumentTypeError, RefusedError
from ..rfc3678.limits import with_open_files
from ..system import doubts
from ..system.interfaces import find_interface
from ..values.addresses import Address, check_port, group_address
from ..values.filters import Sources
from ..values.interface import InterfaceLike
from ..values.lookup import wanted_by
from ..values.shown import shown
from . import gathering
from .arrivals import Witness
from .examining import Case, Window, examine
from .facts import Facts
from .host_rules import doubtful, port_held, refused
from .verdicts import Diagnosis

__all__ = ["check_seconds", "diagnose", "diagnose_over"]


async def diagnose(
    group: Address,
    port: int,
    *,
    sources: Sources = None,
    interface: InterfaceLike = None,
    seconds: float = 3.0,
    probe: bool = False,
) -> Diagnosis:
    """Return why nothing comes to `group` and `port`, or that it does.

    It joins beside the programs that have, with a socket of its own, looks for `seconds`, and leaves. The
    arguments are those of `Receiver.join`, for one interface. What this host reports of its memberships is
    all that it has sent, unless `probe` allows more: an empty datagram to the group that does not leave this
    host, a membership of any source for a moment, and an empty datagram to port 9 of a source.

    Needs no privilege. With CAP_NET_RAW (capabilities(7)) it also looks at the frames to groups on the
    interface, and with CAP_NET_ADMIN it has the program nft, where there is one, tell what rules have
    dropped; without, `Diagnosis.unseen` says so. What a system that is not Linux does not tell stands
    there, too; whether packets come is told everywhere.

    A join that the system refuses is a verdict. Raises AddressError, FilterError, InterfaceError and
    ArgumentError for wrong arguments.
    """
    check_seconds(seconds)
    return await diagnose_over(
        partial(asyncio.sleep, seconds), group, port, sources=sources, interface=interface, probe=probe
    )


async def diagnose_over(
    window: Window,
    group: Address,
    port: int,
    *,
    sources: Sources = None,
    interface: InterfaceLike = None,
    probe: bool = False,
) -> Diagnosis:
    """Do as `diagnose`, for as long as `window` takes."""
    text, _ = group_address(group), check_port(port)
    wanted, named = wanted_by(group, sources)
    if wanted.is_none:
        raise ArgumentError("no source is let in, so nothing can come", "name the sources, or none for any")
    try:
        found = with_open_files(lambda: find_interface(interface, group, named))
    except RefusedError as error:
        return Diagnosis(refused(error), (), None)
    case = Case(text, port, wanted, found)
    known = with_open_files(lambda: doubts.look(found.index, text, wanted))
    try:
        witness = with_open_files(lambda: Witness(text, port, found, wanted))
    except RefusedError as error:
        now = gathering.look(found, text, port)
        facts = Facts(
            group=text,
            port=port,
            wanted=wanted,
            interface=found.name,
            before=now,
            after=now,
            doubts=tuple(known),
            unseen=now.unseen,
        )
        verdict = port_held(error, port) if error.errno == errno.EADDRINUSE else refused(error)
        return Diagnosis(verdict, tuple(doubtful(facts)), facts)
    with witness:
        return await examine(case, witness, known, window, probe=probe)


def check_seconds(seconds: float) -> float:
    """Return `seconds` if it is a number above 0 that can be waited, else raise ArgumentError."""
    hint = "give a number of seconds above 0"
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise ArgumentTypeError(f"seconds {shown(seconds)}", hint)
    if not 0 < seconds < math.inf:
        raise ArgumentError(f"seconds {shown(seconds)}", hint)
    return float(seconds)
