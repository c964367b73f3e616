"""Imports a class of the user's: from an installed or nearby module, or from a file wherever it lies.

    my_module:MyPolicy, package.module.MyPolicy     as Python would import it, also from the current directory
    my_policy.py:MyPolicy, ../x/their policy.py:P   the file; ``from .other import x`` works when it lies in a
                                                    package (a folder with ``__init__.py``), ``import other`` finds
                                                    what lies beside it

Folders of the user's come last on the path, so that a ``random.py`` there does not take the place of Python's.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import os
import pickle
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from vla_bench.envs.errors import suggestion
from vla_bench.policies.errors import PolicyError

PICKLED = ".pickle"
"""End of a file that holds a class itself (a notebook's, one made inside a function)."""


def is_path(target: str) -> bool:
    """Whether a target names a file: ``my_policy.py:MyPolicy``, or a class written down by cloudpickle."""
    return split(target)[0].endswith((".py", PICKLED))


def is_class_path(target: str) -> bool:
    """Whether a target names a class in a module or file, and not a registered policy."""
    return "." in target or ":" in target


def split(target: str) -> tuple[str, str]:
    """Module or file, and the name in it, which may be missing."""
    place, separator, name = target.rpartition(":")
    if not separator and not target.endswith(".py"):
        place, _, name = target.rpartition(".")
    elif not separator:
        place, name = target, ""
    return place, name


def import_module(place: str, target: str) -> ModuleType:
    """The module of ``target``, whose first part is ``place``.

    Raises:
        PolicyError: there is no such file or module.
        Exception: what importing it raises.
    """
    if place.endswith(PICKLED):
        return _unpickled(Path(place).expanduser().absolute(), target)
    if place.endswith(".py"):
        return _import_file(Path(place).expanduser().absolute(), target)
    if (here := os.getcwd()) not in sys.path:
        sys.path.append(here)
    return importlib.import_module(place)


def _unpickled(path: Path, target: str) -> ModuleType:
    """The class of a file that :func:`vla_bench.evaluate` has written, in a module of its own."""
    if not path.is_file():
        raise PolicyError(f"policy {target!r}: there is no file {path}; it is written by evaluate() where it is called")
    try:
        with path.open("rb") as file:
            found = pickle.load(file)
    except Exception as error:
        raise PolicyError(
            f"policy {target!r} cannot be read by {platform.python_version()} here ({type(error).__name__}: {error}); "
            "put the class into a module"
        ) from error
    module = ModuleType(path.stem)
    setattr(module, path.stem, found)
    return module


def _import_file(path: Path, target: str) -> ModuleType:
    if not path.is_file():
        near = suggestion(path.name, [each.name for each in path.parent.glob("*.py")])
        raise PolicyError(f"policy {target!r}: there is no file {path}.{near}")
    root, dotted = _package_of(path)
    if str(root) not in sys.path:
        sys.path.append(str(root))
    if known := _loaded(path):
        return known
    if len(dotted) > 1 and _free(dotted[0], root):
        return importlib.import_module(".".join(dotted))
    return _load(path, dotted)


def _package_of(path: Path) -> tuple[Path, list[str]]:
    """The folder that the file's outermost package lies in, and the dotted name from there."""
    folder, parts = path.parent, [path.stem]
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        parts.insert(0, folder.name)
        folder = folder.parent
    return folder, parts


def _free(package: str, root: Path) -> bool:
    """Whether a package of that name is the one below ``root`` and no other of the same name."""
    known = sys.modules.get(package)
    if known is not None:
        return any(Path(entry) == root / package for entry in getattr(known, "__path__", ()))
    found = importlib.util.find_spec(package)
    return found is not None and found.origin == str(root / package / "__init__.py")


def _loaded(path: Path) -> ModuleType | None:
    for module in list(sys.modules.values()):
        if getattr(module, "__file__", None) == str(path) and getattr(module, "__name__", "") != "__main__":
            return module
    return None


def _load(path: Path, dotted: Sequence[str]) -> ModuleType:
    """Loads the file by its place, it and its packages under names that nobody else has."""
    tag = hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
    stem = "".join(char if char.isalnum() else "_" for char in path.stem)
    packages = [f"policy_package_{tag}", *dotted[1:-1]] if len(dotted) > 1 else []
    for depth in range(1, len(packages) + 1):  # relative imports need them all
        folder = path.parents[len(packages) - depth]
        if (package := ".".join(packages[:depth])) not in sys.modules:
            _execute(package, folder / "__init__.py", [str(folder)])
    if packages:
        return _execute(".".join([*packages, stem]), path, None)
    taken = stem in sys.modules or stem in sys.stdlib_module_names or not stem.isidentifier()
    return _execute(f"policy_file_{tag}_{stem}" if taken else stem, path, None)


def _execute(name: str, path: Path, search: list[str] | None) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=search)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def classes_in(path: Path) -> list[str]:
    """Names of the classes of a file, those with a method ``act`` first; reads it, runs nothing."""
    try:
        body = ast.parse(path.read_text(encoding="utf-8")).body
    except (OSError, SyntaxError, ValueError):
        return []
    found = [each for each in body if isinstance(each, ast.ClassDef)]

    def acts(each: ast.ClassDef) -> bool:
        return any(isinstance(part, ast.FunctionDef) and part.name == "act" for part in each.body)

    return [each.name for each in sorted(found, key=lambda each: not acts(each))]
