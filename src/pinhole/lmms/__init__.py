"""lmms-eval: Pinhole as one of its models, and its benchmarks in `pinhole eval`."""
