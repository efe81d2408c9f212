"""Whole paths over a network: hosts in namespaces, a snooping bridge, and the wire between them.

The folder stays flat. `tests/unit` and `tests/loopback` have the folders of the source; a test in here
is of no one of them.
"""
