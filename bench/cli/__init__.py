"""The command line: ``run.py`` evaluates, ``main.py`` finds the other commands, each a module here."""
