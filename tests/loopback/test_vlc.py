"""VLC sends RTP. Only where it is installed: it is no light program."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import aiomcast
from aiomcast.feeds import Gap, Merged, Restart, Sequence, SequenceCounter, merge
from tests.support.port_holder import CAN_BE_NOBODY

PATIENCE = 60  # seconds, for what takes eight on an idle machine
PORT = 5006
SCENE = ["-f", "lavfi", "-i", "testsrc=size=320x240:rate=25", "-t", "6", "-c:v", "mpeg2video", "-f", "mpegts"]
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]  # VLC does not run as root

pytestmark = pytest.mark.skipif(
    any(shutil.which(one) is None for one in ("cvlc", "ffmpeg")), reason="VLC or FFmpeg is not installed"
)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """Six seconds of MPEG-TS."""
    path = tmp_path / "in.ts"
    subprocess.run(["ffmpeg", "-loglevel", "error", *SCENE, str(path)], check=True, timeout=PATIENCE)
    return path


def vlc(home: Path, *arguments: str) -> list[str]:
    """The command that runs it, as nobody where this is root."""
    if os.geteuid() == 0:
        if not CAN_BE_NOBODY:
            pytest.skip("there is no other user here, and VLC does not run as root")
        home.chmod(0o777)
        for one in home.parents[:2]:
            one.chmod(0o711)
        return [*NOBODY, "env", f"HOME={home}", "cvlc", "-q", *arguments]
    return ["env", f"HOME={home}", "cvlc", "-q", *arguments]


@asynccontextmanager
async def running(command: list[str]) -> AsyncIterator[Process]:
    """Run it until it ends, or what is done meanwhile does."""
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_what_vlc_sends_comes_without_a_gap(any_group: str, scene: Path, tmp_path: Path) -> None:
    """RTP in order, and in it MPEG-TS of which nothing is missing either."""
    continuity, packets = SequenceCounter(Sequence.mpegts(rtp=True)), 0
    out = f"#rtp{{dst={any_group},port={PORT},mux=ts,ttl=1}}"
    command = vlc(tmp_path, "--miface", "lo", str(scene), "--sout", out, "vlc://quit")
    async with (
        aiomcast.listen(any_group, PORT, interface="lo") as feed,
        merge(feed, sequence=Sequence.rtp(), hold=0.2) as merged,
        asyncio.timeout(PATIENCE),
        running(command) as process,
    ):
        ended = asyncio.create_task(_close_after(process, merged))
        async for item in merged:
            assert not isinstance(item, Gap | Restart)
            continuity.take(item.data)
            packets += 1
        said = await ended
    counted = continuity.statistics()
    assert packets > 20, said
    assert (counted.lost, counted.unreadable) == (0, 0)
    assert counted.received > 100


async def _close_after(process: Process, merged: Merged) -> str:
    """Return what it said, once it has ended and what it sent was received."""
    said, _ = await process.communicate()
    await merged.aclose()
    return said.decode()
