"""Packets and events as async iterators."""
