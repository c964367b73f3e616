"""Controlled changes, as the engine sees them.

planning.py  a plan under levels: words, starts, seeds, facts, notes
words.py     what becomes of an instruction
"""
