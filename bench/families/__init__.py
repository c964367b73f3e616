"""Benchmark families: what of a benchmark is particular to its simulator, one module each."""
