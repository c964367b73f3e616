"""The user's own modules that a policy's class is made of.

What the class's module imports is followed from file to file, also where it is imported only inside a
function, and joined with what the interpreter has loaded on the policy's behalf (plug-ins that are found by
name). Left out are the standard library and installed packages, whose versions are recorded, and this package.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.machinery
import inspect
import os
import re
import sys
import sysconfig
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from vla_bench.policies.identity.digests import digest_of
from vla_bench.policies.identity.named import tree_of
from vla_bench.policies.identity.state import state_digest

_ROOT = Path(__file__).resolve().parents[2]
_OURS = tuple(str(_ROOT / name) + os.sep for name in ("bench", "policies", "envs", "vla_bench", "tools"))
_INSTALLED = ("site-packages", "dist-packages")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
MOST_MODULES = 2000
"""Files of a package that are looked through, where any of its modules may be imported."""


def source_files(
    factory: Callable[..., Any], loaded_before: Iterable[str] | None = None, texts: Iterable[str] = ()
) -> dict[str, Path]:
    """The files of the modules, by a name that is the same on every machine (``pkg/helper.py``).

    Args:
        factory: the class or function that makes the policy, imported already.
        loaded_before: modules that were there before it was imported; all later ones of the user's own are
            taken for its own. None: only what the files say.
        texts: of its arguments and configurations; those that name a module (``heads.gpt.Head``) count as imports.
    """
    found: dict[str, Path] = {}
    queue = [*_homes(factory)]
    first = set(queue)
    for text in texts:
        queue += _dotted(text)
    if loaded_before is not None:
        queue += [name for name in set(sys.modules) - set(loaded_before) if name != "__main__"]
    seen: set[str] = set()
    while queue:
        name = queue.pop()
        if name in seen:
            continue
        seen.add(name)
        file, is_package = _locate(name)
        if file is None or not (is_own(file) or (name in first and _is_ours(file))):
            continue
        parts = name.split(".")
        queue += [".".join(parts[:count]) for count in range(1, len(parts))]
        found[label_of(name, file, is_package)] = file
        queue += _imports(file, name if is_package else name.rpartition(".")[0])
    return found


_as_loaded: dict[str, tuple[object, str]] = {}
"""The digest of a module's file when it was first looked at, and the specification it was loaded with."""


def digests_as_loaded(sources: Iterable[Path]) -> dict[Path, str]:
    """Digests of the files that have been edited since this process imported them, as they were then.

    What was imported goes on to be what runs (a notebook's kernel, a training loop). Known for modules that were
    looked at before; one that is loaded anew has another specification.
    """
    specs = {
        getattr(module, "__file__", None): getattr(module, "__spec__", None) for module in list(sys.modules.values())
    }
    edited: dict[Path, str] = {}
    for file in sources:
        spec = specs.get(str(file))
        if spec is None:
            continue
        with contextlib.suppress(OSError):
            now = digest_of(file)
            known, then = _as_loaded.get(str(file), (None, now))
            if known is not spec:
                _as_loaded[str(file)] = (spec, now)
            elif then != now:
                edited[file] = then
    return edited


def is_own(file: Path) -> bool:
    """Whether a module's file is the user's own: neither installed, nor of Python, nor of this package."""
    text = str(file.resolve())
    if any(part in _INSTALLED for part in file.resolve().parts) or _is_ours(file):
        return False
    return not text.startswith(_python())


def installed_package(factory: Callable[..., Any]) -> tuple[str, str] | None:
    """Name and version of the installed package that the class comes from; None for the user's own."""
    import importlib.metadata

    name = getattr(inspect.unwrap(_plain(factory)), "__module__", None) or ""
    file, _ = _locate(name)
    if file is None or is_own(file) or _is_ours(file):
        return None
    top = name.partition(".")[0]
    # The function is there from Python 3.10 on.
    listed: Mapping[str, list[str]] = getattr(importlib.metadata, "packages_distributions", dict)()
    for package in listed.get(top, ()):
        return package, importlib.metadata.version(package)
    return top, str(getattr(sys.modules.get(top), "__version__", "unknown"))


def code_digest(factory: Callable[..., Any]) -> str:
    """Digest of the code of a class or function that no file holds (a notebook's, a generated one), and of what its
    code refers to in the same place: functions, classes, values.

    Compiled code, not text: it is the same in the process where the class was typed and in those it was handed to.
    """
    import hashlib

    seen = hashlib.sha256()
    plain = _plain(factory)
    done: set[int] = set()
    parts = [each for each in plain.__mro__[:-1] if not has_file(each)] if inspect.isclass(plain) else [plain]
    for part in parts:
        for text in _code_of(part, done):
            seen.update(text.encode(errors="surrogatepass"))
    return seen.hexdigest()


def has_file(factory: Callable[..., Any]) -> bool:
    """Whether some module's file holds it."""
    names = [getattr(_plain(factory), "__module__", None) or ""]
    return any(_locate(name)[0] is not None for name in names if name and name != "__main__")


def _plain(factory: Any) -> Any:
    while hasattr(factory, "func") and not inspect.isclass(factory):  # functools.partial
        factory = factory.func
    return factory if inspect.isclass(factory) or hasattr(factory, "__code__") else type(factory)


def _homes(factory: Callable[..., Any]) -> Iterator[str]:
    plain = _plain(factory)
    for part in (factory, plain, inspect.unwrap(plain), *getattr(plain, "__mro__", ())):
        name = getattr(part, "__module__", None)
        if isinstance(name, str) and name not in ("builtins", "__main__"):
            yield name


def _locate(name: str) -> tuple[Path | None, bool]:
    """A module's file and whether it is a package, loaded or not; nothing of it is run."""
    module = sys.modules.get(name)
    if isinstance(module, types.ModuleType):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or not os.path.isfile(file):
            return None, hasattr(module, "__path__")
        return Path(file), hasattr(module, "__path__")
    spec = _find(name)
    if spec is None or not spec.has_location or not spec.origin or not os.path.isfile(spec.origin):
        return None, spec is not None and spec.submodule_search_locations is not None
    return Path(spec.origin), spec.submodule_search_locations is not None


def _find(name: str) -> importlib.machinery.ModuleSpec | None:
    parent, _, last = name.rpartition(".")
    if not last or not last.isidentifier():
        return None
    path: Any = None
    if parent:
        loaded = sys.modules.get(parent)
        path = getattr(loaded, "__path__", None) if loaded is not None else None
        if path is None:
            above = _find(parent)
            path = above.submodule_search_locations if above is not None else None
        if path is None:
            return None
        path = list(path)
    try:
        return importlib.machinery.PathFinder.find_spec(name, path)
    except (ImportError, ValueError, AttributeError, OSError):
        return None


def label_of(name: str, file: Path, is_package: bool) -> str:
    """``pkg/helper.py`` for the module ``pkg.helper``."""
    path = name.replace(".", "/")
    return f"{path}/{file.name}" if is_package else f"{path}{file.suffix}"


def _imports(file: Path, package: str) -> list[str]:
    """Names of modules that a file may import; ``from a import b`` may mean the module ``a.b``."""
    names: list[str] = []
    for node in ast.walk(tree_of(str(file), file.stat().st_mtime_ns)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node.module or "", node.level, package)
            names += [base, *(f"{base}.{alias.name}" for alias in node.names if alias.name != "*")]
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            text = node.args[0].value
            if _called(node) in ("import_module", "__import__") and isinstance(text, str):
                level = len(text) - len(text.lstrip("."))
                names.append(_absolute(text.lstrip("."), level, package))
        elif isinstance(node, ast.Call) and node.args and _called(node) in ("import_module", "__import__"):
            names += _all_modules(_beginning(node.args[0], package))  # a name that is made when it runs
        elif _finds_at_run_time(node, file):
            names += _all_modules(package)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names += _dotted(node.value)
    return [name for name in names if name]


def _finds_at_run_time(node: ast.AST, file: Path) -> bool:
    """Whether a package gives its modules by names that are asked for: a ``__getattr__``, a search of its folder."""
    if isinstance(node, ast.Call):
        return _called(node) in ("iter_modules", "walk_packages", "attach", "attach_stub")
    return isinstance(node, ast.FunctionDef) and node.name == "__getattr__" and file.name == "__init__.py"


def _called(node: ast.Call) -> str:
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def _dotted(text: str) -> list[str]:
    """The modules that a text like ``heads.gpt.Head`` may mean, when its first part is one of the user's own."""
    if len(text) > 200 or not _MODULE.fullmatch(text):
        return []
    parts = text.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)] if _is_own_name(parts[0]) else []


def _is_own_name(name: str) -> bool:
    file, _ = _locate(name)
    return file is not None and is_own(file)


def _beginning(node: ast.expr, package: str) -> str:
    """The package in which a name lies that is put together when the program runs: ``f"heads.{kind}"``."""
    if isinstance(node, ast.BinOp):
        while isinstance(node, ast.BinOp):
            node = node.left
    elif isinstance(node, ast.JoinedStr) and node.values:
        node = node.values[0]
    text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
    if text.startswith("."):
        return _absolute(text.lstrip("."), len(text) - len(text.lstrip(".")), package).rstrip(".")
    return text.rpartition(".")[0] or package.partition(".")[0]


def _all_modules(package: str) -> list[str]:
    """Every module in and below a package."""
    file, is_package = _locate(package) if package else (None, False)
    if file is None or not is_package or not is_own(file):
        return []
    names = []
    for number, path in enumerate(sorted(file.parent.rglob("*.py"))):
        parts = path.relative_to(file.parent).with_suffix("").parts
        if all(map(str.isidentifier, parts)) and number < MOST_MODULES:
            names.append(".".join([package, *(part for part in parts if part != "__init__")]))
    return names


def _absolute(name: str, level: int, package: str) -> str:
    if not level:
        return name
    parts = package.split(".") if package else []
    above = parts[: len(parts) - (level - 1)] if level > 1 else parts
    return ".".join([*above, *([name] if name else [])])


def _is_ours(file: Path) -> bool:
    return str(file.resolve()).startswith(_OURS)


@lru_cache(maxsize=1)
def _python() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    places = {os.path.realpath(paths[name]) for name in ("stdlib", "platstdlib") if name in paths}
    places.add(os.path.dirname(os.path.realpath(os.__file__)))
    return tuple(place + os.sep for place in places)


def _code_of(part: Any, done: set[int]) -> Iterator[str]:
    if id(part) in done:
        return
    done.add(id(part))
    members = vars(part).items() if inspect.isclass(part) else (("", part),)
    for name, member in sorted(members, key=lambda item: item[0]):
        function = getattr(member, "__func__", getattr(member, "fget", member))
        code = getattr(function, "__code__", None)
        if isinstance(code, types.CodeType):
            yield name
            yield from _constants(code)
            yield state_digest(getattr(function, "__defaults__", None))[0]
            yield from _referred(function, code, done)
        elif not inspect.isroutine(member) and name not in _UNTELLING and not isinstance(member, property):
            yield f"{name}={state_digest(member)[0]}"


def _referred(function: Any, code: types.CodeType, done: set[int]) -> Iterator[str]:
    """What code takes from around it, unless a file or a package holds that."""
    around = getattr(function, "__globals__", {})
    cells = zip(code.co_freevars, getattr(function, "__closure__", None) or (), strict=False)
    values = {name: around[name] for name in _names(code) if name in around}
    for name, cell in cells:
        with contextlib.suppress(ValueError):  # not filled yet
            values[name] = cell.cell_contents
    for name, value in sorted(values.items()):
        if inspect.isclass(value) or inspect.isfunction(value):
            if not has_file(value):
                yield name
                yield from _code_of(value, done)
        elif not isinstance(value, types.ModuleType) and not inspect.isroutine(value) and id(value) not in done:
            done.add(id(value))
            yield f"{name}={state_digest(value)[0]}"


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


_UNTELLING = (
    *("__module__", "__qualname__", "__doc__", "__firstlineno__", "__static_attributes__", "__dict__", "__weakref__"),
    *("__annotations__", "__abstractmethods__", "_abc_impl", "__slotnames__", "__orig_bases__", "__parameters__"),
)


def _constants(code: types.CodeType) -> Iterator[str]:
    yield code.co_code.hex()
    yield repr((code.co_names, code.co_varnames))
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _constants(constant)
        elif isinstance(constant, frozenset):  # whose order is another in every process
            yield repr(sorted(constant, key=repr))
        else:
            yield repr(constant)
