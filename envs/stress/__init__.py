"""Controlled changes of an evaluation: the same episodes, with one thing changed.

levels.py   what can be changed, and by how much: every axis and field
image.py    what happens to pictures, after they were rendered
body.py     what happens to actions, before they are executed
wrapped.py  a simulation under such changes

The world's own changes (cameras, light, surfaces, clutter) are made by the family that owns the world; words and starts
are changed where episodes are planned.
"""
