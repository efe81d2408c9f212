"""How much is kept of what the network feeds: every limit, in one place.

Guarantee 6 in `docs/explanation/guarantees.md` lists them, and a test compares the numbers.
"""

from __future__ import annotations

from typing import Final

RECEIVE_BUFFER: Final = 4 << 20
"""Bytes of receive buffer asked for per socket, where nothing else was: memory is taken as it fills."""
CAPACITY: Final = 4096
"""Packets in a stream, where no other number was asked for."""
READ_PER_TURN: Final = 512
"""Datagrams read per wake-up, about: then the other tasks of the loop have their turn."""
MERGE_WINDOW: Final = 4096
"""Numbers by which lines of a merge may be apart, where no other number was asked for."""
EVENTS: Final = 1024
"""Events in a stream of events: beyond it the oldest go."""
FLOWS_PER_STREAM: Final = 4096
"""Senders of which a tagged stream remembers whether they match: then it starts anew."""
SOURCES_COUNTED: Final = 4096
"""Sources counted by themselves, per membership: the others are counted together."""
FLOWS_PER_SOCKET: Final = 1024
"""Senders that a socket's reader remembers: beyond it the memory starts anew."""
CHANNELS: Final = 65536
"""Pairs of source and group that packets share."""
ADDRESSES: Final = 16384
"""Texts of addresses remembered, per table: a swap of known sources costs look-ups, not parsing."""
FILTERS: Final = 256
"""Lists of sources whose filters are remembered: a swap to a known list costs one look-up."""
FILTER_SOURCES: Final = 128
"""Sources in such a list: longer ones are looked up source by source."""
READ_AHEAD: Final = 256
"""Datagrams read ahead at a time over the sockets of one membership, about."""
READ_AHEAD_EACH: Final = 4
"""Datagrams read at a time from each of very many sockets."""
HEARD: Final = 65536
"""Packets of a socket that is being replaced, remembered for who comes after it."""
FILTERS_KEPT: Final = 1024
"""Swaps of which a socket keeps the filter before, for what had arrived, without a packet read since."""
CHANGES_WAITING: Final = 8
"""Changes of mode that wait to be read out: beyond it the oldest goes before its time."""
INTERFACES_LEFT: Final = 64
"""Interfaces that a membership has left and is known by: beyond it the oldest go of which nothing waits."""
SOCKETS_LINGERING: Final = 64
"""Sockets kept open for latecomers: beyond it the oldest close."""
RECORD_AHEAD: Final = 1 << 25
"""Bytes of payload that wait for a recording to be written: beyond it nothing is taken from its stream."""
FRAME_SHAPES: Final = 4096
"""Headers kept while a stream is recorded, one for each flow and length: then the memory starts anew."""
IDENTITIES: Final = 131_072
"""Payloads that a relay remembers of a time slot, and messages that a subscription remembers."""
FLOWS_RELAYED: Final = 65_536
"""Flows that a relay counts: beyond it the first begins anew."""
CAPTURE_BLOCK: Final = 1 << 20
"""Bytes of a packet in a capture, with what is told of it: a longer one is taken for a broken file."""
CAPTURE_INTERFACES: Final = 4096
"""Interfaces that a capture can have."""
FRAGMENTED: Final = 256
"""Datagrams of a capture that are put together from fragments at a time: beyond it the oldest is given up."""
