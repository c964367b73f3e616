"""Scripts that measure what the README claims: ``python -m bench.benchmarks.<name>``."""
