"""The only place with a clock, sleep, sockets and threads."""
