"""The running kernel and the model of it do the same, whatever the calls."""

import errno
import socket
import sys
from collections.abc import Callable, Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from aiomcast import FilterMode, LimitError, RefusedError, SourceFilter
from aiomcast.rfc3678 import calls, kernel
from aiomcast.rfc3678.abi import native
from aiomcast.rfc3678.sysctls import sysctl_value
from aiomcast.values.addresses import pack
from tests.support.kernel_model import IPV4, IPV6, KernelSocket, Limits
from tests.support.sending import LO

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the model is Linux's")

GROUPS4 = [f"239.77.3.{number}" for number in range(1, 24)]
GROUPS6 = [f"ff31::77:3:{number:x}" for number in range(1, 24)]
SOURCES4 = [f"127.9.1.{number}" for number in range(1, 13)]
SOURCES6 = [f"2001:db8::9:{number:x}" for number in range(1, 67)]
ABI = native()
MODES = {ABI.MCAST_INCLUDE: FilterMode.INCLUDE, ABI.MCAST_EXCLUDE: FilterMode.EXCLUDE}

few = st.integers(0, 2)  # most calls go to the first groups and sources, or they would seldom meet
groups = st.one_of(few, few, st.integers(0, len(GROUPS4) - 1))
sources = st.one_of(few, few, st.integers(0, 65))
modes = st.sampled_from(FilterMode)


class Machine(RuleBasedStateMachine):
    """One socket of the kernel and one of the model, which get the same calls."""

    family: int
    level: int
    limits: Limits
    group_names: Sequence[str]
    source_names: Sequence[str]

    def __init__(self) -> None:
        super().__init__()
        self.sock = socket.socket(self.family, socket.SOCK_DGRAM)
        self.model = KernelSocket(self.limits)
        self.called: set[str] = set()

    def teardown(self) -> None:
        with self.sock:
            for name in self.group_names:
                self._compare(name)

    def both(self, group: str, real: Callable[[], object], modelled: Callable[[], object]) -> None:
        """Make the same call twice; compare what is refused and how."""
        expected = found = 0
        limited = False
        self.called.add(group)
        try:
            modelled()
        except OSError as error:
            expected = error.errno or -1
        try:
            real()
        except RefusedError as error:
            found = error.errno or -1
            limited = isinstance(error, LimitError)
        assert limited is (found == errno.ENOBUFS)
        names = {0: "done", **errno.errorcode}
        assert names[found] == names[expected]

    @initialize(joined=st.one_of(few, st.integers(17, 20)))
    def members_of_some_groups(self, joined: int) -> None:
        for group in self.group_names[3 : 3 + joined]:
            self._join_group(group)

    @rule(group=groups)
    def join_group(self, group: int) -> None:
        self._join_group(self.group_names[group])

    def _join_group(self, name: str) -> None:
        self.both(name, lambda: calls.join_group(self.sock, LO, name), lambda: self.model.join_group(name))

    @rule(group=groups)
    def leave_group(self, group: int) -> None:
        name = self.group_names[group]
        self.both(name, lambda: calls.leave_group(self.sock, LO, name), lambda: self.model.leave_group(name))

    @rule(call=st.sampled_from(["join", "leave", "block", "unblock"]), group=groups, source=sources)
    def one_source(self, call: str, group: int, source: int) -> None:
        real, modelled = {
            "join": (calls.join_source_group, self.model.join_source),
            "leave": (calls.leave_source_group, self.model.leave_source),
            "block": (calls.block_source, self.model.block),
            "unblock": (calls.unblock_source, self.model.unblock),
        }[call]
        name, sender = self.group_names[group], self.source_names[source % len(self.source_names)]
        self.both(name, lambda: real(self.sock, LO, name, sender), lambda: modelled(name, sender))

    @rule(group=groups, mode=modes, chosen=st.frozensets(sources, max_size=4))
    def set_few(self, group: int, mode: FilterMode, chosen: frozenset[int]) -> None:
        self._set(group, mode, {self.source_names[one % len(self.source_names)] for one in chosen})

    @rule(group=groups, mode=modes, over=st.integers(-2, 2), first=st.integers(0, 1))
    def set_about_the_limit(self, group: int, mode: FilterMode, over: int, first: int) -> None:
        self._set(group, mode, set(self.source_names[first : first + self.limits.sources + over]))

    def _set(self, group: int, mode: FilterMode, chosen: set[str]) -> None:
        name, wanted = self.group_names[group], SourceFilter(mode, chosen)
        self.both(
            name,
            lambda: calls.setsourcefilter(self.sock, LO, name, wanted),
            lambda: self.model.set(name, mode, sorted(chosen)),
        )

    @rule(group=few, mode=modes, chosen=st.lists(sources, min_size=1, max_size=5))
    def set_with_doubles(self, group: int, mode: FilterMode, chosen: list[int]) -> None:
        """The library never does this; it is why it checks its lists itself (6)."""
        name, listed = self.group_names[group], [self.source_names[one % 3] for one in chosen]
        number = next(number for number, meant in MODES.items() if meant is mode)
        expected = found = 0
        self.called.add(name)
        try:
            self.model.set(name, mode, listed)
        except OSError as error:
            expected = error.errno or -1
        try:
            value = ABI.group_filter(LO, pack(name), number, [pack(one) for one in listed])
            kernel.setsockopt(self.sock, self.level, ABI.MCAST_MSFILTER, value)
        except OSError as error:
            found = error.errno or -1
        assert found == expected

    @invariant()
    def both_hold_the_same(self) -> None:
        for name in self.called:
            self._compare(name)
        self.called.clear()

    def _compare(self, name: str) -> None:
        if name not in self.model.held:
            with pytest.raises(RefusedError) as caught:
                calls.getsourcefilter(self.sock, LO, name)
            assert caught.value.errno == errno.EADDRNOTAVAIL
        else:
            state = self.model.get(name)
            assert calls.getsourcefilter(self.sock, LO, name) == state.filter
            question = ABI.group_filter(LO, pack(name), 0, [bytes(len(pack(name)))] * 70)
            answer = kernel.getsockopt(self.sock, self.level, ABI.MCAST_MSFILTER, question)
            mode, count, listed = ABI.parse_group_filter(answer)[2:]
            assert (MODES[mode], count) == (state.mode, len(state.sources or ()))
            assert sorted(listed) == sorted(map(pack, state.sources or ()))


class IPv4Machine(Machine):
    family, level, limits = socket.AF_INET, socket.IPPROTO_IP, IPV4
    group_names, source_names = GROUPS4, SOURCES4


class IPv6Machine(Machine):
    family, level, limits = socket.AF_INET6, socket.IPPROTO_IPV6, IPV6
    group_names, source_names = GROUPS6, SOURCES6


TestIPv4 = IPv4Machine.TestCase
TestIPv6 = IPv6Machine.TestCase
TestIPv4.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestIPv6.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@pytest.fixture(autouse=True)
def limits() -> None:
    shown = sysctl_value("net.ipv4.igmp_max_msf"), sysctl_value("net.ipv4.igmp_max_memberships")
    if shown != IPV4 or sysctl_value("net.ipv6.mld_max_msf") not in (None, IPV6.sources):
        pytest.skip("the limits are not the kernel's defaults here")
