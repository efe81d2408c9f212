"""What the system has: interfaces, sockets that hold a filter, and the plan of calls."""
