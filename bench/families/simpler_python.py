"""Where the interpreter is that has the original SimplerEnv."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vla_bench.bench.errors import ConfigError

PYTHON_VARIABLE = "SIMPLER_PYTHON"
DEFAULT_PYTHON = Path(".venv-simpler/bin/python")


def find_python(options: Mapping[str, Any]) -> str:
    """The interpreter that has the original package; ConfigError: there is none."""
    named = str(options.get("python") or os.environ.get(PYTHON_VARIABLE) or "")
    repository = Path(__file__).resolve().parents[2]
    places = [Path(named).expanduser()] if named else [DEFAULT_PYTHON.absolute(), repository / DEFAULT_PYTHON]
    for place in places:
        if place.is_file():
            return str(place)
    if named:
        raise ConfigError(f"there is no interpreter {named} (benchmark.options.python, {PYTHON_VARIABLE})")
    raise ConfigError(
        "the original SimplerEnv is not installed; type: make simpler   (its own environment, some minutes), "
        "or benchmark.options.backend=maniskill3 for the WidowX tasks on ManiSkill3"
    )
