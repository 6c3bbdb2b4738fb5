"""Sockets: connected, secured, driven by the hub, and bounded in time."""
