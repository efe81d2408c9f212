"""Asking the firewall what its rules have counted. Takes CAP_NET_ADMIN, and the program nft."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from pathlib import Path
from typing import Final

from . import nft

__all__ = ["rules"]

_CAP_NET_ADMIN: Final = 12  # linux/capability.h
_PLACES: Final = "/usr/sbin:/sbin:/usr/local/sbin:/usr/bin:/bin"
_SECONDS: Final = 2.0
_ENDING: Final = 2.0  # seconds: a kernel may not let go of what was killed
_WHAT: Final = "which rule of nftables drops how many packets"


async def rules() -> tuple[dict[str, int] | None, str]:
    """Return the packets that rules have dropped so far, or None and why that is not told.

    It is about the network namespace of the calling thread, in which the program is started.
    """
    if not _has_capability():
        return None, f"{_WHAT}: CAP_NET_ADMIN"
    program = shutil.which("nft", path=_PLACES)
    if program is None:
        return None, f"{_WHAT}: nft is not installed"
    try:
        process = await _begin(program)
    except (OSError, RuntimeError) as error:  # RuntimeError: or a loop that starts no programs
        return None, f"{_WHAT}: {error or 'this event loop starts no programs'}"
    try:
        async with asyncio.timeout(_SECONDS):
            told, _ = await process.communicate()
        return nft.dropping(told.decode()), ""
    except (TimeoutError, ValueError):
        return None, f"{_WHAT}: nft list ruleset did not tell"
    finally:
        if process.returncode is None:
            await _end(process)


async def _begin(program: str) -> asyncio.subprocess.Process:
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            program, "-j", "list", "ruleset",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    )  # fmt: skip
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:  # which uvloop would leave it running after
        with contextlib.suppress(OSError, RuntimeError):
            await _end(await starting)
        raise


async def _end(process: asyncio.subprocess.Process) -> None:
    """Have nothing left of it: a loop that is closed before warns, or cannot close."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_ENDING):
            await process.communicate()


def _has_capability() -> bool:
    """Whether the calling thread may ask. False where the system tells nothing of that."""
    try:
        status = Path("/proc/thread-self/status").read_text("ascii", "replace")
    except OSError:
        return False
    (held,) = [line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")] or ["0"]
    return bool(int(held, 16) >> _CAP_NET_ADMIN & 1)
