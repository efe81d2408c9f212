"""What is done with feeds of packets once they are received: recorded to files that other tools read."""

from .recording import Recorded, record

__all__ = ["Recorded", "record"]
