"""What makes a policy the one that it is: the content of its code and of the files it is given.

digests.py   a file's whole content in 64 digits, remembered for large ones
sources.py   the user's own modules that a policy's class is made of
files.py     the files and folders that arguments name
content.py   both together, as what a run belongs to, and how two of them differ

Numpy only, and of the standard library what an older interpreter has, too: a simulator's own may ask.
"""
