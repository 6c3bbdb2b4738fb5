"""Integrations with Locust and Socket.IO. Each module needs its extra; import it by name."""
