"""What a policy holds inside: its context vectors, taken, described and compared (docs/vectors.md).

sampling.py      which frames, and why
frames.py        the frames themselves, from a data set or from what a result set executed
extraction.py    plan, policy and frames together, on disk
store.py         the files, written in place and read with care
statistics.py, intervals.py, probes.py, comparison.py     numbers: numpy and scipy alone
tables.py, report.py, charts.py, projection.py            what people read
plan_vectors.py … compare_vectors.py                      the four actions of ``vla-bench vectors``
"""
