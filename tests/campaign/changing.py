"""Operations on memberships: join, leave, change filters, refresh; and that they did what they should."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiomcast

from . import faults, history
from .draw import Operation
from .history import Change, Filter
from .stage import BOUND, Held, Stage, now, source_filter

__all__ = ["Changing"]


class Changing:
    """The operations by name, for one thread."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._busy: set[tuple[int, int]] = set()  # slots that are being joined or left

    async def join(self, operation: Operation) -> None:
        """Join what a slot stands for."""
        stage = self._stage
        key = (operation["receiver"], operation["slot"])
        if key in stage.held or key in self._busy:
            return
        slot = stage.place.slots[key[1]]
        wanted = stage.filter(operation["filter"])
        join = Change("join", wanted, now())
        records = stage.records.memberships
        number, receiver = stage.number(records), stage.receiver_number(key[0])
        record = history.Membership(number, receiver, slot.group, slot.port, [join])
        joined: list[aiomcast.Membership] = []

        async def call() -> None:
            joined.append(
                await stage.receivers[key[0]].join(
                    slot.group, slot.port, sources=source_filter(wanted), interface=stage.place.interface
                )
            )

        records.append(record)
        self._busy.add(key)
        try:
            done = await self._attempt(operation, call, [(record, join)])
        finally:
            self._busy.discard(key)
        if done:
            held = stage.held[key] = Held(joined[0], record)
            stage.joined[key[0]].set()
            self.compare([held])

    async def leave(self, operation: Operation) -> None:
        """Leave it."""
        stage = self._stage
        key = (operation["receiver"], operation["slot"])
        if key not in stage.held or key in self._busy:
            return
        held = stage.held.pop(key)
        stage.left.append(held)
        self._busy.add(key)
        held.record.leaving = now()
        stage.log(held.record.leaving, f"leaves membership {held.record.number}")
        try:
            async with asyncio.timeout(BOUND):
                await held.membership.leave()
                await held.membership.leave()  # which is fine
        finally:
            held.record.left = now()
            self._busy.discard(key)

    async def swap(self, operation: Operation) -> None:
        """Put another filter in the place of the one in force."""
        held = self._held(operation)
        if held is not None:
            wanted, pending = self._stage.filter(operation["filter"]), operation["pending"]
            await self._change(
                operation,
                lambda: held.membership.swap(source_filter(wanted), pending),
                [(held, Change("swap", wanted, now(), pending))],
            )

    async def delta(self, operation: Operation) -> None:
        """Add or take away one source, by the call that does it in the mode in force."""
        held = self._held(operation)
        if held is None or any(one.returned is None for one in held.record.changes):
            return
        source = self._stage.place.sources[operation["source"]]
        include, sources = held.wanted
        membership = held.membership
        if include:
            call = membership.leave_source if source in sources else membership.join_source
        else:
            call = membership.unblock_source if source in sources else membership.block_source
        wanted = Filter(include, sources ^ {source})
        await self._change(operation, lambda: call(source), [(held, Change("swap", wanted, now()))])

    async def apply(self, operation: Operation) -> None:
        """Swap several memberships together."""
        stage, receiver, pending = self._stage, operation["receiver"], operation["pending"]
        listed: list[tuple[Held, Change]] = []
        for slot, drawn in operation["filters"].items():
            held = stage.held.get((receiver, int(slot)))
            if held is not None and held.record.leaving is None:
                listed.append((held, Change("swap", stage.filter(drawn), now(), pending)))
        if listed:
            wanted: dict[aiomcast.Membership, aiomcast.Sources] = {
                held.membership: source_filter(change.filter) for held, change in listed
            }
            await self._change(
                operation, lambda: stage.receivers[receiver].filters.apply(wanted, pending), listed
            )

    async def refresh(self, operation: Operation) -> None:
        """Leave and join again with the same filter, by the call that does it."""
        held = self._held(operation)
        if held is not None:
            change = Change("refresh", held.wanted, now(), lossy="refresh")
            await self._change(operation, held.membership.refresh, [(held, change)])

    def compare(self, helds: list[Held]) -> None:
        """Compare what the library and the kernel say is in force with what must be."""
        for held in helds:
            record = held.record
            if record.leaving is not None or record.broken is not None:
                continue
            if any(one.returned is None for one in record.changes):
                continue  # another task's change is in progress
            wanted = source_filter(held.wanted)
            found, kernel = held.membership.filter, held.membership.kernel_filter()
            most = 64 if ":" in record.group else self._stage.limits.lowest_msf
            partly = not wanted.is_include and len(wanted.sources) > most
            same = kernel == wanted or (partly and not kernel.is_include and kernel.sources < wanted.sources)
            if found != wanted or not same:
                text = f"membership {record.number} should hold {wanted}, "
                text += f"the library says {found}, the kernel {kernel}"
                self._stage.note("unlike", now(), text)

    def _held(self, operation: Operation) -> Held | None:
        held = self._stage.held.get((operation["receiver"], operation["slot"]))
        return held if held is not None and held.record.leaving is None else None

    async def _change(
        self, operation: Operation, call: Callable[[], Awaitable[None]], listed: list[tuple[Held, Change]]
    ) -> None:
        for held, change in listed:
            held.record.changes.append(change)
        await self._attempt(operation, call, [(held.record, change) for held, change in listed])
        self.compare([held for held, _ in listed])

    async def _attempt(
        self,
        operation: Operation,
        call: Callable[[], Awaitable[None]],
        changes: list[tuple[history.Membership, Change]],
    ) -> bool:
        """Make a call that changes memberships, with datagrams right before and after; say if it did."""
        stage = self._stage
        places = {(record.group, record.port) for record, _ in changes}
        stage.send(places, operation["before"])
        began = now()
        for _, change in changes:
            change.began = began
        error: Exception | None = None
        with faults.armed(operation.get("fault")) as fault:
            try:
                async with asyncio.timeout(BOUND):
                    await call()
            except Exception as raised:
                error = raised
        returned = now()
        stage.send(places, operation["after"])
        told = "" if error is None else f": {type(error).__name__}: {error}"
        what = operation["do"]
        for record, change in changes:
            change.returned, change.refused = returned, told
            what += f" {record.number}" + ("" if change.kind == "refresh" else f" to {_brief(change.filter)}")
        what += f" {operation.get('pending', '')}"
        if fault is not None and fault.hit:
            what += f" (refused call: {operation['fault']})"
        stage.log(began, f"{what}, {(returned - began) / 1e6:.3f} ms{told}")
        if stage.threads > 1 and stage.limits.did_msf_change(began):
            for _, change in changes:
                change.lossy = change.lossy or "met another limit"
        if error is not None:
            excuse = self._excuse(error, fault, began, [record for record, _ in changes])
            for record, change in changes:
                if excuse is None or isinstance(error, aiomcast.InconsistentError):
                    record.broken = began
                else:
                    change.lossy = change.lossy or excuse
            if excuse is None:
                stage.unexpected(what, error)
        return error is None

    def _excuse(
        self,
        error: Exception,
        fault: faults.Fault | None,
        began: int,
        records: list[history.Membership],
    ) -> str | None:
        """Return the exception by which packets may be lost in a refused call, None if it is a violation."""
        limits = self._stage.limits
        if isinstance(error, aiomcast.StateError) and any(one.leaving is not None for one in records):
            return ""
        met_another = self._stage.threads > 1 and limits.did_msf_change(began)
        if met_another and isinstance(error, aiomcast.RefusedError | aiomcast.InconsistentError):
            return "met another limit"
        if not isinstance(error, aiomcast.RefusedError):
            return None
        if fault is not None and fault.hit:
            return "refused sets"
        if isinstance(error, aiomcast.LimitError) and limits.were_files_few(began):
            return ""
        return None


def _brief(wanted: Filter) -> str:
    listed = sorted(wanted.sources)
    text = " ".join(listed[:6]) + (f" ... {len(listed)} in all" if len(listed) > 6 else "")
    return f"{'INCLUDE' if wanted.include else 'EXCLUDE'}{{{text}}}"
