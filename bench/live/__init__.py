"""What is known and shown while a run goes on.

totals.py     counts that events add to, and numbers read off them
screen.py     a live table on a terminal, plain lines anywhere else
tracking.py   the summary, mirrored to an experiment tracker
"""
