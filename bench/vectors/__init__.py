"""What a policy holds inside: its context vectors, taken, described and compared (docs/vectors.md).

sampling.py      which frames, and why
frames.py        the frames themselves, from a data set or from what a result set executed
extraction.py    plan, policy and frames together, on disk
store.py         the files, written in place and read with care
intervals.py, statistics.py, probes.py, comparison.py   numbers: of one extraction, of two
embedding.py     maps of the frames
tables.py, charts.py, page.py                       what people read
choosing.py                                         the words that choose frames
plan_vectors.py … report_vectors.py                the actions of ``vla-bench vectors``
"""
