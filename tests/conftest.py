"""Every asyncio test runs on asyncio's own loop and on uvloop, on Windows on both of asyncio's."""

import asyncio
import signal
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping

import hypothesis
import pytest

from tests.support.loops import LOOPS
from tests.support.stamping import stamping

# What runs in the background, or by nohup, has signals ignored, and every process that a test starts
# would inherit that.
for name in ("SIGINT", "SIGQUIT", "SIGHUP"):
    number = getattr(signal, name, None)  # Windows has the first alone
    if number is not None and signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL)

# A loaded machine is slow, not wrong.
hypothesis.settings.register_profile("aiomcast", deadline=None, print_blob=True)
hypothesis.settings.load_profile("aiomcast")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Name the loops there are."""
    return LOOPS


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what is tested."""
    from aiomcast import reading

    return [f"aiomcast: {reading.implementation} reader", f"loops: {', '.join(LOOPS)}"]


@pytest.fixture(scope="session", autouse=True)
def _without_a_lock() -> Iterator[None]:
    """On a free-threaded Python the lock was off, and nothing that was imported has put it on."""
    yield
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        is_on: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)
        assert not is_on()


@pytest.fixture(scope="session", autouse=True)
def _stamping() -> Iterator[None]:
    """Every packet of a test has its time of arrival: the kernel stamps before the first one comes."""
    with stamping():
        yield
