"""One program per system; each does the same verbs with a client of its own."""
