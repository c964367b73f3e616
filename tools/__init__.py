"""Scripts that measure what the README claims: ``python -m tools.<name>``."""
