"""What receiving multicast costs, against a C loop and against what else there is. See `__main__`."""
