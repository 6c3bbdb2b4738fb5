"""The protocol: bytes and text in, values out. No sockets, no gevent, no clock."""
