"""Many rows at once, on top of the calls for one: no helper opens a connection or picks a key."""
