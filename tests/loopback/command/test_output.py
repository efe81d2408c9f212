"""What is written to a pipe: whole units, also where the reader is slow and the task is cancelled."""

import asyncio
import os
import select
from collections.abc import Iterator

import pytest

from aiomcast.command.output import Output
from tests.support.platforms import IS_WINDOWS

pytestmark = pytest.mark.skipif(IS_WINDOWS, reason="Windows waits for no pipe")


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    yield reading, writing
    os.close(reading)
    os.close(writing)


def read_all(descriptor: int) -> bytes:
    read = b""
    try:
        while part := os.read(descriptor, 1 << 20):
            read += part
    except BlockingIOError:
        pass
    return read


async def until_full(writing: int) -> None:
    """Wait until a pipe takes no more: its size is found by looking."""
    async with asyncio.timeout(10):
        while select.select((), (writing,), (), 0)[1]:
            await asyncio.sleep(0)


@pytest.mark.parametrize("size", [1, 100, 5000, 200_000])
async def test_all_is_written_in_order(pipe: tuple[int, int], size: int) -> None:
    reading, writing = pipe
    units = [b"%d" % (number % 10) * size for number in range(30)]
    output = Output(writing)
    task = asyncio.create_task(output.write(units))
    read = b""
    async with asyncio.timeout(20):
        while not task.done():
            read += read_all(reading)
            await asyncio.sleep(0)
    read += read_all(reading)
    assert read == b"".join(units)
    assert output.written == len(units)


async def test_lines_are_not_cut_where_it_is_cancelled(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    output = Output(writing)
    task = asyncio.create_task(output.write([b"x" * 99 + b"\n"] * 5000))
    await until_full(writing)
    task.cancel()
    await asyncio.wait([task], timeout=10)
    assert task.cancelled()
    read = read_all(reading)
    assert len(read) % 100 == 0
    assert output.written == len(read) // 100 > 0


async def test_a_long_line_is_finished_where_its_reader_goes_on(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    output = Output(writing)
    line = b"y" * 300_000 + b"\n"
    task = asyncio.create_task(output.write([line, line]))
    await until_full(writing)
    task.cancel()
    read = b""
    async with asyncio.timeout(10):
        while not task.done():
            read += read_all(reading)
            await asyncio.sleep(0)
    read += read_all(reading)
    assert task.cancelled()
    assert (read, output.written) == (line, 1)


async def test_a_long_line_of_which_nobody_takes_more_is_no_line_written(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiomcast.command.output.TO_FINISH", 0.01)
    _, writing = pipe
    output = Output(writing)
    task = asyncio.create_task(output.write([b"z" * 300_000]))
    await until_full(writing)
    task.cancel()
    await asyncio.wait([task], timeout=10)
    assert task.cancelled()
    assert output.written == 0
