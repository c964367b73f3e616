"""Evaluates vision-language-action policies in simulation.

The parts are ``vla_bench.envs``, ``vla_bench.policies`` and ``vla_bench.bench``; what most people need is
offered here. In a checkout the parts lie beside this folder, installed they lie inside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vla_bench.bench import compare, evaluate, load

__all__ = ["__version__", "compare", "evaluate", "load"]

_HERE = Path(__file__).resolve().parent
if not (_HERE / "bench").is_dir():
    __path__.append(str(_HERE.parent))


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from vla_bench.program import version

        return version()
    if name in __all__:
        from vla_bench import bench

        return getattr(bench, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
