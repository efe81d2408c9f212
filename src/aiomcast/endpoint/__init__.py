"""The asyncio way: a datagram protocol with a source filter, its transport, and a sender."""
