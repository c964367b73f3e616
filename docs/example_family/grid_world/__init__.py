"""A benchmark family for vla-bench, as an example."""
