"""The one way to start another Python process of ours, whatever its folder, path and interpreter.

``python .../vla_bench/start.py MODULE ...`` runs a module of this package as ``python -m`` would. The package is
loaded from where this file lies, never searched for: a folder of the user's named ``envs`` or ``random.py`` beside
the user cannot take the place of ours or of the standard library's. Imports nothing but the standard library, and
little of it; the interpreter may be an older one (SimplerEnv's).
"""

from __future__ import annotations

import importlib.util
import os
import runpy
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))


def command(module: str, *words: object, python: str | os.PathLike[str] | None = None) -> list[str]:
    """The command line that runs ``module`` (a dotted name in ``vla_bench``) in a process of its own."""
    return [str(python or sys.executable), os.path.join(_HERE, "start.py"), module, *map(str, words)]


# One control step is too small a job for a thread pool: several workers would only fight over cores.
_SINGLE_THREADED = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def simulation_environment() -> dict[str, str]:
    """Variables of a process that owns a simulation: one thread per numeric library."""
    return {
        **os.environ,
        **dict.fromkeys(_SINGLE_THREADED, "1"),
        "PYTHONSAFEPATH": "1",  # a random.py beside the user is not the standard library's
        "PYTHONUNBUFFERED": "1",
    }


def import_path() -> str:
    """The folder to put on ``PYTHONPATH`` for a process that others start, so that it finds this package.

    Installed it holds whatever else is installed. A checkout's root will not do, since it also holds folders with
    everyday names, ``envs`` and ``policies``, which would take the place of a user's own; there it is a folder
    with nothing but a link to this one.
    """
    return os.path.dirname(_HERE) if os.path.isdir(os.path.join(_HERE, "bench")) else os.path.join(_HERE, "importable")


def hide_checkout() -> None:
    """Takes a checkout's folders off the path of this process and leaves the package alone on it."""
    hidden = (_HERE, os.path.dirname(_HERE))
    if not os.path.isdir(os.path.join(_HERE, "bench")):
        sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") not in hidden]
        sys.path.append(import_path())


def load_package() -> None:
    """Makes ``vla_bench`` the package that this file belongs to, wherever that is."""
    if "vla_bench" in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(
        "vla_bench", os.path.join(_HERE, "__init__.py"), submodule_search_locations=[_HERE]
    )
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["vla_bench"] = package
    spec.loader.exec_module(package)


def _run() -> None:
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != _HERE]
    hide_checkout()
    load_package()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _run()
