"""The workers: one program per system. All have the same verbs, each with its own client."""
