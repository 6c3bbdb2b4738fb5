"""Measures engineio_gevent and other Engine.IO clients: ``python -m benchmarks --help``."""
