"""The actions of ``vla-bench data``, each a module with ``configure(parser)`` and ``run(arguments) -> int``."""
