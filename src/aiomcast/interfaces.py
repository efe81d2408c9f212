"""Network interfaces: the list of them, and what `interface=` takes. Public."""

from .system.interfaces import list_interfaces
from .values.interface import Interface, InterfaceLike

__all__ = ["Interface", "InterfaceLike", "list_interfaces"]
