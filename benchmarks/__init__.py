"""What this client costs, next to what others cost: ``python -m benchmarks --help``."""
