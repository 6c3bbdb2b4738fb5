"""Other frameworks on this client; each module needs its own extra, and is imported by name."""
