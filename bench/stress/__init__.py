"""Controlled changes, as the engine sees them.

planning.py  a plan under levels: words, starts, seeds, facts, notes
words.py     what becomes of an instruction
comparing.py result sets against their unchanged twins
tables.py    what came of it, to read
page.py      what came of it, at a glance
"""
