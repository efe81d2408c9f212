"""For tests of programs that receive: a network in memory, in the place of the system's.

`Receiver(network=MemoryNetwork())` opens no socket, sleeps nowhere, and gives every run the same
packets at the same times.
"""

from .hosts import MemoryHost
from .networks import MemoryNetwork

__all__ = ["MemoryHost", "MemoryNetwork"]
