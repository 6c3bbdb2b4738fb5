"""The transports: I/O under a session; they know nothing of Client."""
