"""Sockets in memory and how they are read: what a network for tests and a capture that is replayed share."""
