"""The files that a policy is given: every argument that names one, or a folder of them."""

from __future__ import annotations

import glob
import json
import os
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from errno import ENOENT
from pathlib import Path
from typing import Any

from vla_bench.policies.identity.named import texts_in_configuration

LEFT_OUT = frozenset(("__pycache__", ".git", ".cache", ".ipynb_checkpoints", ".venv", ".DS_Store"))
"""Names within a folder that say nothing of a policy."""
MOST_FILES = 50_000
"""Files of a folder, and"""
MOST_BYTES = 1 << 38
"""bytes, above which names, sizes and times are compared in place of the content."""
LONGEST_NAME = 4000
DEEPEST = 3
"""Configurations that name each other are followed so far."""
_INDEX = ".index.json"
"""Ends the name of the list of a sharded checkpoint's files."""


def named_paths(
    arguments: Mapping[str, Any], places: Iterable[Path], left_out: Path | None = None
) -> tuple[dict[str, Path], list[str]]:
    """The files that arguments name, and what cannot be compared, in sentences.

    A file goes by the argument and its name, ``policy.checkpoint=model.pt``, one in a folder by
    ``policy.lora=adapter/adapter_model.safetensors``.

    Args:
        arguments: of the policy's constructor; nested lists and mappings are looked into.
        places: folders that relative paths start from; the first where something lies counts.
        left_out: a folder whose files are not the policy's (the results).
    """
    found: dict[str, Path] = {}
    remarks: list[str] = []
    places = list(places)
    for label, whole in _strings("", arguments):
        for text in _readings(whole):
            for path in (paths := next(filter(None, (_meant(text, place) for place in places)), [])):
                _take(f"policy.{label}={path.name or text}", path, found, remarks, left_out)
            if paths and text == whole:
                break
    for label, path in list(found.items()):
        _follow(label, path, places, found, DEEPEST)
    return found, remarks


def strings(arguments: Mapping[str, Any]) -> list[str]:
    """All texts among arguments, and in the configurations that they name."""
    texts = [text for _, text in _strings("", arguments)]
    files = [path for text in texts for path in _meant(text, Path.cwd()) if path.is_file()]
    return [*texts, *(text for path in files for text in texts_in_configuration(path))]


def _readings(text: str) -> Iterator[str]:
    """What a text may name: itself; a ``file://`` address; of ``a.pt,b.pt`` each part; of ``a.pt:ema`` what stands
    in front."""
    yield text
    if text.startswith("file://"):
        yield urllib.parse.unquote(text.removeprefix("file://").removeprefix("localhost"))
    elif len(text) < LONGEST_NAME:
        parts = [part.strip() for part in re.split(r"[,;]", text)]
        for part in parts if len(parts) > 1 else ():
            yield part
        for part in parts:
            if (front := re.split(r"[:@#?=](?!/)", part)[0]) != part and "." in front:
                yield front
            if (behind := part.rpartition("=")[2]) != part and "." in behind:
                yield behind


def _follow(label: str, path: Path, places: Sequence[Path], found: dict[str, Path], deep: int) -> None:
    """Adds the files that a configuration names; folders in it are as often data sets as weights, and are not."""
    for text in texts_in_configuration(path) if deep else ():
        for place in (path.parent, *places):
            paths = [each for each in _meant(text, place) if each.is_file() and each != path]
            for named in paths:
                inner = f"{label}:{named.name}"
                if named.resolve() not in {each.resolve() for each in found.values()}:
                    found[inner] = named
                    _follow(inner, named, places, found, deep - 1)
            if paths:
                break


def _strings(label: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str | os.PathLike):
        yield label, os.fspath(value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if label and isinstance(key, str):
                yield label, key
            yield from _strings(f"{label}.{key}" if label else str(key), item)
    elif isinstance(value, list | tuple | set | frozenset):
        for number, item in enumerate(value):
            yield from _strings(f"{label}[{number}]", item)


def _meant(text: str, place: Path) -> list[Path]:
    """What a text names, seen from a folder; nothing for a text that is no path."""
    if not text or len(text) > LONGEST_NAME or "\0" in text or "\n" in text:
        return []
    try:
        path = place / Path(text).expanduser()
        if path.exists():
            return [path]
        if "/" not in text:
            return []
        # A pattern, or the common beginning of several files' names, as TensorFlow has it.
        pattern = str(path) if glob.has_magic(text) else f"{glob.escape(str(path))}.*"
        return sorted(map(Path, glob.glob(pattern)))[:MOST_FILES]
    except (OSError, RuntimeError, ValueError):
        return []


def _take(label: str, path: Path, found: dict[str, Path], remarks: list[str], left_out: Path | None) -> None:
    if path.is_file():
        found[label] = path
        for shard in _shards(path):
            found[f"{label.rpartition(path.name)[0]}{shard.name}"] = shard
        return
    if not path.is_dir():
        return  # a device, a socket
    whole, here = path.resolve(), Path.cwd()
    if whole in here.parents:
        remarks.append(f"{label} ({path}) holds the folder you are in; its content is not compared")
        return
    for file in folder_files(path, left_out):
        found[f"{label}/{file.relative_to(path)}"] = file


def folder_files(folder: Path, left_out: Path | None = None) -> list[Path]:
    """The files in a folder and below, by name; links are followed, once each."""
    beside = left_out.resolve() if left_out is not None else None
    files: list[Path] = []
    seen: set[str] = set()
    for top, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(top)
        if real in seen or (beside is not None and Path(real) == beside):
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if name not in LEFT_OUT)
        for name in names:
            path = Path(top, name)
            if name not in LEFT_OUT and not name.endswith((".pyc", ".lock")) and path.is_file():
                files.append(path)
        if len(files) > 4 * MOST_FILES:
            break
    return sorted(files)


def files_of(path: Path) -> dict[str, Path]:
    """The files that a checkpoint is, by name: all of a folder, a single one, or an index and the files it lists.

    Raises:
        FileNotFoundError: nothing is there.
    """
    if path.is_dir():
        return {str(file.relative_to(path)): file for file in folder_files(path)}
    if not path.exists():
        raise FileNotFoundError(ENOENT, "there is no such file", str(path))
    shards = {str(shard.relative_to(path.parent)): shard for shard in _shards(path)}
    return {"": path, **shards}


def _shards(index: Path) -> list[Path]:
    """The files that the list of a sharded checkpoint names; none of any other file."""
    if not index.name.endswith(_INDEX):
        return []
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    return sorted(path for name in names if (path := index.parent / str(name)).is_file())
