"""A training run as a result set: folder, journal, provenance, screen, report, tracker.

setup.py      what is typed, and the folder it belongs to
journal.py    every step, validation and evaluation, one line each
session.py    the run: brings network, data, simulator and records together
screen.py     what is shown while it goes on
curves.py     a journal as curves and numbers
page.py       one HTML file of it
tracking.py   the same for TensorBoard and W&B
rates.py      several rates, and which was best
"""
