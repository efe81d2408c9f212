"""System calls that fail where no seam in Python is: places in epoll sets, reads, times of arrival."""

import sys

import pytest

if not sys.platform.startswith("linux"):
    pytest.skip("faults before the C library, and epoll, are Linux's", allow_module_level=True)

from tests.support.loops import LOOPS
from tests.support.readers import IMPLEMENTATIONS
from tests.support.system_faults import run

from .scenes import SCENES

READERS = [module.__name__.rsplit(".", 1)[-1].strip("_") for module in IMPLEMENTATIONS]


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("reader", READERS)
def test_a_scene(scene: str, loop: str, reader: str, any_group: str) -> None:
    assert run("tests.loopback.loops.scenes", scene, loop, any_group, reader=reader) == "played\n"
