"""Memberships: their sockets, their filters, and the receiver that has them."""
