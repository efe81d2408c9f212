"""Real hosts in network namespaces: what is received, and what is seen on the wire."""
