"""How this program is typed, so that whatever a message tells people to type works where they are.

Installed it is ``vla-bench``, in a checkout perhaps ``python run_benchmark.py``. Floors below the command line
suggest commands too, and so do processes it starts: the name travels in an environment variable.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

INSTALLED = "vla-bench"
_VARIABLE = "VLA_BENCH_PROGRAM"
_ROOT = Path(__file__).resolve().parents[1]
_MODULES = {"vla_bench": "vla_bench", "old_name": "bench"}
"""Folder of a ``__main__.py``, and the module's name as typed after ``-m``."""
_typed_here = False


def program() -> str:
    """What a command is typed after: ``f"{program()} doctor"``."""
    return os.environ.get(_VARIABLE, INSTALLED)


def evaluation() -> str:
    """What the words of an evaluation are typed after: ``f"{evaluation()} policy=stub"``."""
    return program() if shlex.split(program())[-1].endswith(".py") else f"{program()} run"


def as_typed(text: str) -> str:
    """A text whose commands begin with ``vla-bench``, as they are typed here; remarks stay in their column."""
    wider = " " * max(0, len(program()) - len(INSTALLED))
    text = re.sub(r"^(?= {30})", wider, text, flags=re.MULTILINE)
    return text.replace(f"{INSTALLED} run", evaluation()).replace(INSTALLED, program())


def introduce() -> None:
    """Notes how this process was started; called once, by whoever reads the command line."""
    global _typed_here
    os.environ[_VARIABLE] = _typed(sys.argv[0], getattr(sys, "orig_argv", [sys.executable])[0])
    _typed_here = True


def command_line() -> str:
    """What was typed to start this process, be it this program or a script that uses it."""
    if _typed_here:
        return f"{program()} {shlex.join(sys.argv[1:])}"
    return shlex.join([Path(sys.executable).name, *sys.argv])


def _typed(script: str, interpreter: str) -> str:
    path = Path(script)
    if path.name == "run_benchmark.py":
        return shlex.join([interpreter, script])
    if path.name == "__main__.py" and path.parent.name in _MODULES:
        return shlex.join([interpreter, "-m", _MODULES[path.parent.name]])
    if path.name != INSTALLED:
        return INSTALLED
    found = shutil.which(INSTALLED)
    return INSTALLED if found and path.exists() and path.samefile(found) else shlex.quote(script)


def is_checkout() -> bool:
    """Whether this is a checkout, whose parts lie beside this package rather than in it."""
    return not (Path(__file__).parent / "bench").is_dir()


def version() -> str:
    """The version, e.g. ``0.2.0``; in a checkout what its pyproject.toml says."""
    if is_checkout():
        return _project()["version"]
    from importlib.metadata import version as installed

    return installed(INSTALLED)


def needed_packages() -> list[str]:
    """What this package cannot do without, as requirements (``numpy>=1.26``)."""
    if is_checkout():
        return _project()["dependencies"]
    from importlib.metadata import requires

    return [line for line in requires(INSTALLED) or () if "extra ==" not in line]


def not_installed(error: ModuleNotFoundError) -> str:
    """A sentence for a Python that lacks a package of ours; any other missing module is raised again."""
    needed = {re.split(r"[\s<>=!~;\[]", line)[0] for line in needed_packages()}
    name = (error.name or "").partition(".")[0]
    if {"hydra": "hydra-core", "PIL": "pillow", "google": "ray"}.get(name, name) not in needed:
        raise error
    said = f"error: {sys.executable} has no package {name!r}, which this program needs. "
    ours = _ROOT / ".venv" / "bin" / "python"
    if is_checkout() and ours.is_file():
        here = ours.relative_to(Path.cwd()) if ours.is_relative_to(Path.cwd()) else ours
        return f"{said}The environment that make made has it: type {shlex.quote(str(here))} in place of python"
    return f"{said}Install it with: {shlex.join([sys.executable, '-m'])} {installing()}"


def _project() -> dict[str, Any]:
    import tomllib

    with (_ROOT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["project"]


def installing(extra: str = "") -> str:
    """The command that installs this package with an extra (``vla``, ``video`` …), or once more without one."""
    wanted = f"[{extra}]" if extra else ""
    if is_checkout():
        return shlex.join(["pip", "install", "-e", f"{'.' if Path.cwd() == _ROOT else _ROOT}{wanted}"])
    return shlex.join(["pip", "install", f"{INSTALLED}{wanted}"])
