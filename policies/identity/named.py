"""Files that a policy's sources and configurations name in their texts."""

from __future__ import annotations

import ast
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

WEIGHTS = (".pt", ".pth", ".ckpt", ".safetensors", ".npz", ".npy", ".onnx", ".pkl", ".pickle", ".h5", ".msgpack")
"""Ends of names that stand for weights."""
DATA = (
    *(".json", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".txt", ".csv", ".xml", ".urdf", ".model", ".vocab"),
    *(".bin", ".engine", ".tflite", ".so", ".py", ".sh"),
)
"""Ends of names that stand for what else a policy reads or runs."""
CONFIGURATIONS = (".json", ".yaml", ".yml", ".toml")
LARGEST_CONFIGURATION = 1 << 20
_LONGEST = 500
_WRITING = ("save", "dump", "write", "to_", "log", "makedirs", "mkdir", "handler", "imwrite", "unlink", "remove")
_PATHS = ("join", "joinpath", "Path", "with_name")


def named_files(sources: Iterable[Path]) -> dict[str, Path]:
    """Files that lie in the current directory or beside the source that names them (``np.load("model.npz")``,
    ``Path(__file__).parent / "conf" / "policy.yaml"``), by the text that names them. What the source only writes is
    left out."""
    found: dict[str, Path] = {}
    for source in sources:
        for text in texts_of(str(source), source.stat().st_mtime_ns):
            for place in (Path.cwd(), source.parent):
                if (file := place / text).is_file():
                    found.setdefault(text, file)
                    break
    return found


def is_weights(name: str) -> bool:
    """Whether a name ends as those of weights do."""
    return name.endswith(WEIGHTS)


@lru_cache(maxsize=512)
def texts_of(file: str, _changed: int) -> tuple[str, ...]:
    """Texts of a source file that end as a file's name does, with the folders that are put in front of them."""
    tree = tree_of(file, _changed)
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    unknown = any(isinstance(node, ast.Call) and _opens_to_write(node) and not _named(node) for node in ast.walk(tree))
    ends = WEIGHTS if unknown else (*WEIGHTS, *DATA)  # whatever it writes to may be any of the others
    found: dict[str, None] = {}
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            continue
        text = node.value
        if not text.endswith((*WEIGHTS, *DATA)) or len(text) > _LONGEST or "\n" in text:
            continue
        if text.endswith(ends) and not _written(node, parents):
            found[text] = None
            if (whole := _joined(node, parents)) != text:
                found[whole] = None
    return tuple(found)


def _joined(node: ast.AST, parents: Mapping[ast.AST, ast.AST]) -> str:
    """The constants of ``a / "b" / "c.yaml"`` or ``join(a, "b", "c.yaml")`` as one path."""
    top = node
    while (above := parents.get(top)) is not None and (
        (isinstance(above, ast.BinOp) and isinstance(above.op, ast.Div))
        or (isinstance(above, ast.Call) and getattr(above.func, "attr", getattr(above.func, "id", "")) in _PATHS)
    ):
        top = above
    return "/".join(_constants(top))


def _constants(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            yield node.value
    elif isinstance(node, ast.BinOp):
        yield from _constants(node.left)
        yield from _constants(node.right)
    elif isinstance(node, ast.Call):
        for part in (*([node.func.value] if isinstance(node.func, ast.Attribute) else ()), *node.args):
            yield from _constants(part)


def _written(node: ast.AST, parents: Mapping[ast.AST, ast.AST]) -> bool:
    while (node := parents.get(node)) is not None:  # type: ignore[assignment]
        if isinstance(node, ast.stmt):
            return False
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", "")).lower()
            if _opens_to_write(node) or any(word in name for word in _WRITING):
                return True
    return False


def _opens_to_write(call: ast.Call) -> bool:
    if getattr(call.func, "attr", getattr(call.func, "id", "")) != "open":
        return False
    modes = [*call.args[:2], *(word.value for word in call.keywords if word.arg == "mode")]
    said = [each.value for each in modes if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    return any(len(mode) < 4 and set(mode) & set("wax+") for mode in said)


def _named(call: ast.Call) -> bool:
    return any(isinstance(each, ast.Constant) for node in call.args[:1] for each in ast.walk(node))


@lru_cache(maxsize=512)
def tree_of(file: str, _changed: int) -> ast.AST:
    """The syntax tree of a source file; an empty one for what is none."""
    try:
        with open(file, "rb") as opened:
            return ast.parse(opened.read()) if file.endswith((".py", ".pyw")) else ast.Module([], [])
    except (OSError, SyntaxError, ValueError, RecursionError):
        return ast.Module([], [])


def texts_in_configuration(path: Path) -> list[str]:
    """All texts in a JSON, YAML or TOML file, keys aside; none for what cannot be read as such."""
    try:
        if path.suffix not in CONFIGURATIONS or path.stat().st_size > LARGEST_CONFIGURATION:
            return []
        return list(_texts(_read(path)))
    except (OSError, ValueError, RecursionError):
        return []


def _read(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        return json.loads(text)
    if path.suffix == ".toml":
        import tomllib

        return tomllib.loads(text)
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str | os.PathLike):
        yield os.fspath(value)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _texts(item)
