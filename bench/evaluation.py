"""What :func:`vla_bench.evaluate` takes: a policy in any form, and fields as keywords."""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_bench.bench.errors import ConfigError
from vla_bench.bench.live.screen import Screen, SilentScreen
from vla_bench.bench.runner import evaluate
from vla_bench.bench.setup.config import Config, RunConfig
from vla_bench.bench.setup.keywords import config_from_keywords
from vla_bench.policies.identity.sources import is_own

if TYPE_CHECKING:
    from vla_bench.bench.records.result_set import ResultSet

CLASSES = ".classes"
"""Folder beside the result sets in which classes without a file are handed to the workers."""


def evaluate_policy(
    policy: Any,
    screen: Screen | None = None,
    *,
    benchmark: str = "",
    arguments: Mapping[str, Any] | None = None,
    progress: bool = True,
    **fields: Any,
) -> ResultSet:
    """See :func:`vla_bench.bench.evaluate`."""
    if isinstance(policy, Config):
        if fields or arguments:
            raise ConfigError(f"{next(iter({**fields, 'arguments': 0}))} belongs to the configuration; change it there")
        return evaluate(policy, screen)
    if screen is None:
        screen = make_screen() if progress else SilentScreen()
    given = dict(arguments or {})
    if isinstance(policy, str | os.PathLike):
        return evaluate(config_from_keywords(os.fspath(policy), benchmark, given, fields), screen)
    if inspect.isclass(policy) or (callable(policy) and not callable(getattr(policy, "act", None))):
        folder = Path(fields.get("results") or RunConfig().results)
        target = class_path(policy, folder)
        return evaluate(config_from_keywords("", benchmark, given, fields, target=target), screen)
    return _evaluate_instance(policy, benchmark, given, fields, screen)


def _evaluate_instance(
    instance: Any, benchmark: str, arguments: Mapping[str, Any], fields: Mapping[str, Any], screen: Screen
) -> ResultSet:
    from vla_bench.bench.policy_server.live import LiveInstance

    if arguments:
        raise ConfigError("arguments are of a class, and this policy is built already; leave them out")
    live = LiveInstance(instance)
    # Workers of this machine alone can reach it, and without Ray they start sooner.
    fields = {"backend": "local", **fields}
    config = config_from_keywords("", benchmark, {}, fields, target=live.target)
    if config.run.address is not None:
        raise ConfigError(
            "an instance is served to the workers of this machine; leave address out, or give evaluate() the class"
        )
    return evaluate(config, screen, live=live)


def class_path(factory: Callable[..., Any], folder: Path) -> str:
    """A path by which other processes find a class: its module or file; else a copy of it in ``folder``.

    A notebook's class, one made inside a function and one of the script that runs have no module that could be
    imported without running something else, so cloudpickle writes them down.
    """
    name, module = getattr(factory, "__qualname__", ""), sys.modules.get(getattr(factory, "__module__", "") or "")
    file = getattr(module, "__file__", None)
    if (
        module
        and file
        and module.__name__ != "__main__"
        and name.isidentifier()
        and getattr(module, name, None) is factory
    ):
        return f"{Path(file).absolute()}:{name}" if is_own(Path(file)) else f"{module.__name__}:{name}"
    return _written_down(factory, folder)


def _written_down(factory: Callable[..., Any], folder: Path) -> str:
    import cloudpickle

    name = re.sub(r"\W", "_", getattr(factory, "__name__", type(factory).__name__))
    module = sys.modules.get(getattr(factory, "__module__", "") or "")
    file = getattr(module, "__file__", None)
    own = module is not None and file and module.__name__ != "__main__" and is_own(Path(file))
    by_value = module if own else None
    try:
        if by_value is not None:  # what its methods use of that module comes along
            cloudpickle.register_pickle_by_value(by_value)
        content = cloudpickle.dumps(factory)
    except Exception as error:
        raise ConfigError(
            f"{name} has no file of its own and cannot be handed to the workers ({type(error).__name__}: {error}); "
            "put it into a module, or give evaluate() an instance"
        ) from error
    finally:
        if by_value is not None:
            cloudpickle.unregister_pickle_by_value(by_value)
    path = folder / CLASSES / f"{name}.pickle"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)
    return f"{path}:{name}"


def make_screen() -> Screen:
    """What shows a run where this is called: a notebook's own, a live table or plain lines."""
    from vla_bench.bench.live.notebook import NotebookScreen, in_notebook
    from vla_bench.bench.live.screen import make_screen as make_terminal_screen

    return NotebookScreen() if in_notebook() else make_terminal_screen()
