"""What Windows refuses, said in its own terms: its facts, and its errors put into the seam."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator

import attrs
import pytest

from aiomcast import InterfaceGoneError, LimitError, RefusedError, SourceFilter, open_socket
from aiomcast.rfc3678 import full_state, refusals, shortage
from aiomcast.rfc3678.abi import WINDOWS, native
from aiomcast.rfc3678.refusals import refusal
from aiomcast.system.sockets import MulticastSocket
from tests.support import seam
from tests.support.seam import Faults, faults
from tests.support.sending import A, B

__all__ = ["faults"]

GONE = 999_999  # no interface has this index


@pytest.fixture(autouse=True)
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its facts, whatever the numbers of the calls are here."""
    monkeypatch.setattr(refusals, "ABI", attrs.evolve(native(), facts=WINDOWS.facts))


@pytest.fixture
def sock(any_group: str) -> Iterator[MulticastSocket]:
    """A member of the test's group."""
    with open_socket(any_group, 0, "lo") as opened:
        opened.set_filter([A])
        yield opened


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EADDRNOTAVAIL])
def test_to_leave_a_group_that_is_not_held(sock: MulticastSocket, faults: Faults, number: int) -> None:
    faults.fail(lambda call: True, number)
    sock.leave()
    faults.stop()
    assert sock.filter == SourceFilter.none()


def test_other_refusals_of_leaving_are_told(sock: MulticastSocket, faults: Faults) -> None:
    faults.fail(lambda call: True, errno.ENOBUFS)
    with pytest.raises(RefusedError):
        sock.leave()
    faults.stop()
    assert sock.filter == SourceFilter.include([A])


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EADDRNOTAVAIL])
@pytest.mark.parametrize(
    "doing", [lambda sock: sock.set_filter([A, B]), lambda sock: sock.set_filter(SourceFilter.any())],
    ids=["a list", "any source"],
)  # fmt: skip
def test_an_interface_that_is_gone(
    any_group: str, faults: Faults, number: int, doing: Callable[[MulticastSocket], None]
) -> None:
    with open_socket(any_group, 0, "lo") as sock:
        here = sock.interface
        faults.fail(lambda call: True, number)
        sock.interface = attrs.evolve(here, index=GONE)
        with pytest.raises(InterfaceGoneError) as gone:
            doing(sock)
        assert gone.value.errno == number
        assert "index" in gone.value.hint
        sock.interface = here
        with pytest.raises(RefusedError) as there:
            doing(sock)
        assert type(there.value) is RefusedError
        faults.stop()


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.EACCES, "excludedportrange"), (errno.EADDRINUSE, "SO_REUSEADDR"), (errno.EMFILE, "sockets"),
        (errno.ENOBUFS, "shorter lists"), (errno.EFAULT, "list"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("sends", [False, True])
def test_hints_name_what_windows_has(number: int, says: str, sends: bool) -> None:
    told = refusal(seam.refusal(number), "trying", sends=sends, in_use=lambda: "SO_REUSEPORT")
    assert says in told.hint
    assert not [word for word in ("sysctl", "1024", "ulimit", "SO_REUSEPORT") if word in told.hint]


def test_a_list_that_is_refused_is_a_limit(sock: MulticastSocket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows tells of none, so it is not blamed on one."""

    def refuse(*arguments: object) -> None:
        raise seam.refusal(errno.ENOBUFS)

    monkeypatch.setattr(refusals, "sysctl_value", lambda name: None)
    monkeypatch.setattr(shortage, "of_list", lambda *_: refusals.Shortage((), is_certain=False))
    monkeypatch.setattr(full_state, "set_by_index", refuse)
    with pytest.raises(LimitError) as caught:
        sock.set_filter([A, B])
    assert (caught.value.sysctl, caught.value.value) == (None, None)
    assert "shorter lists" in caught.value.hint
    assert sock.filter == SourceFilter.include([A])
