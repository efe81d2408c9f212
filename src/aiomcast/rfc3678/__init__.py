"""The multicast source-filter API of RFC 3678: its tables, its calls, and a socket to call them on."""
