"""Clips of episodes, made from what was executed and not from what was rendered.

    trace.py     the executed actions of an episode, kept by the worker that ran it
    replay.py    executes them again and looks on: the simulation repeats to the last bit
    picture.py   a frame: cameras, instruction, subtask, step, outcome
    clips.py     the clips of a run, encoded by processes of their own, and their index

A run with clips therefore costs no frame more than one without, and its numbers are the same. A clip whose
episode did not end in the recorded state, digest by digest, says so.
"""
