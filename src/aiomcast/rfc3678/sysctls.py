"""Reading the settings of the system: in /proc/sys, or by sysctlbyname(3)."""

from __future__ import annotations

import ctypes
import io
import sys

from . import kernel
from .abi import native
from .abi.facts import Setting

__all__ = ["setting_value", "sysctl_value"]

ABI = native()
_AS_A_PATH = str.maketrans("./", "/.")


def sysctl_value(name: str) -> int | None:
    """Return the present value of a sysctl, None where it cannot be read (other systems, namespaces).

    `name` is as sysctl(8) has it: in the name of an interface, as of eth0.100, a slash stands for the dot.
    """
    try:
        if ABI.facts.sysctls_by_name:
            return _by_name(name)
        # `open` would ask five more things, at every join.
        with io.FileIO("/proc/sys/" + name.translate(_AS_A_PATH)) as file:
            return int(file.read(64))
    except (OSError, ValueError):
        return None


def setting_value(setting: Setting) -> int | None:
    """Return the present value of a limit, None where there is none."""
    shown = sysctl_value(setting.sysctl) if setting.sysctl is not None else None
    if shown is None:
        return setting.default
    return shown if shown >= 0 else None  # Linux compares without a sign


def _by_name(name: str) -> int:
    value = ctypes.create_string_buffer(8)  # an int or a long
    size = ctypes.c_size_t(len(value))
    no_new = None, ctypes.c_size_t(0)
    kernel.libc_call("sysctlbyname", name.encode("ascii"), value, ctypes.byref(size), *no_new)
    return int.from_bytes(value.raw[: size.value], sys.byteorder, signed=True)
