"""The actions of ``python -m bench data``, each a module with ``configure(parser)`` and ``run(arguments) -> int``."""
