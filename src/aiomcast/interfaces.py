"""Network interfaces: the list of them, and what `interface=` takes. Public."""

from .system.interfaces import list_interfaces
from .values.interface import ALL_INTERFACES, AllInterfaces, Interface, InterfaceLike, InterfacesLike

__all__ = [
    "ALL_INTERFACES",
    "AllInterfaces",
    "Interface",
    "InterfaceLike",
    "InterfacesLike",
    "list_interfaces",
]
