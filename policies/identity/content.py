"""The content of a policy: digests of its code and of its files, and how two of them differ."""

from __future__ import annotations

import hashlib
import inspect
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vla_bench.policies.identity.digests import digest_of
from vla_bench.policies.identity.files import MOST_BYTES, MOST_FILES, named_paths, strings
from vla_bench.policies.identity.named import is_weights, named_files
from vla_bench.policies.identity.sources import (
    code_digest,
    digests_as_loaded,
    has_file,
    installed_package,
    is_own,
    source_files,
)

READ = "read "
"""Begins the names of files that no argument names: those that the sources name, and those that were opened while the
policy was built. Unless they are weights they may come and go (a cache of the policy's own)."""
LISTED = 256
"""Files of one folder that are told apart; those of a larger one have a digest together."""
_NAMED = 8
"""Differences that a sentence holds."""
_HEX = frozenset("0123456789abcdef")
SPEAK_SECONDS = 1.0
"""How long digesting may take without a word."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Where the content lies, before anything of it is read; plain data."""

    sources: Mapping[str, str] = field(default_factory=dict)
    """Files of the user's own modules, by names like ``pkg/helper.py``."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Files that arguments name, by names like ``policy.checkpoint=model.pt``."""
    known: Mapping[str, str] = field(default_factory=dict)
    """What has its digest, or its version, already."""
    uncompared: tuple[str, ...] = ()
    """What belongs to the policy and cannot be compared, in sentences."""
    as_loaded: Mapping[str, str] = field(default_factory=dict)
    """Digests of those of ``sources`` that were edited since this process imported them, as they were then."""


@dataclass(frozen=True, slots=True)
class Content:
    """Digests, 64 hexadecimal digits each (a package: its version); plain data."""

    sources: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    uncompared: tuple[str, ...] = ()

    @property
    def digests(self) -> dict[str, str]:
        """All of them."""
        return {**self.sources, **self.files}

    @property
    def read(self) -> dict[str, str]:
        """Those of the files that no argument names."""
        return {name: digest for name, digest in self.files.items() if name.startswith(READ)}


def parts_of(
    factory: Callable[..., Any],
    arguments: Mapping[str, Any],
    *,
    ours: bool,
    stated: Mapping[str, str],
    loaded_before: Iterable[str] | None = None,
    opened: Iterable[Path] = (),
    written: Iterable[Path] = (),
    left_out: Path | None = None,
) -> Parts:
    """What a policy is made of.

    Args:
        factory: its class, or the function that makes it.
        arguments: those chosen; the defaults of the others are looked into, too.
        ours: whether it is one of this package, whose version and commit are recorded.
        stated: digests that the policy states itself (:attr:`vla_bench.policies.base.PolicySpec.files`), by
            the argument's name; those arguments are not read again.
        loaded_before: see :func:`vla_bench.policies.identity.sources.source_files`.
        opened: files that were read while it was built (:mod:`vla_bench.policies.identity.opened`).
        written: files that it wrote to meanwhile; those that arguments name (a log) are not what it is made of.
        left_out: a folder that is not the policy's.
    """
    known = {f"policy.{name}": digest for name, digest in stated.items()}
    uncompared: list[str] = []
    sources: dict[str, Path] = {}
    given = {**_defaults(factory), **arguments}
    given = {name: value for name, value in given.items() if name not in stated}
    if not ours:
        sources = source_files(factory, loaded_before, strings(given))
        if package := installed_package(factory):
            known[f"package {package[0]}"] = package[1]
            uncompared.append(f"of the installed package {package[0]} only the version ({package[1]}) is compared")
        elif not sources or not has_file(factory):
            name = getattr(factory, "__qualname__", type(factory).__qualname__)
            known[f"code of {name}"] = code_digest(factory)
            uncompared.append(
                f"no file holds {name}: its code and what that refers to beside it are compared, not what lies in "
                "other files"
            )
    loaded = digests_as_loaded(sources.values())
    homes = list(dict.fromkeys([Path.cwd(), *(file.parent for file in sources.values())]))
    files, remarks = named_paths(given, homes, left_out)
    own_writing = {os.path.realpath(file) for file in written if not is_weights(file.name)}
    for label, file in list(files.items()):
        if os.path.realpath(file) in own_writing:
            del files[label]
            remarks.append(f"{label} is written by the policy itself; its content is not compared")
    opened = list(opened)
    known |= {} if ours else _revisions(opened)
    named = named_files(sources.values())
    files |= {text: file for text, file in named.items() if is_weights(text)}
    known_files = {*map(os.path.realpath, (*sources.values(), *files.values()))}
    for text, file in [*named.items(), *(() if ours else _opened(opened, homes, left_out).items())]:
        if (real := os.path.realpath(file)) not in known_files:
            known_files.add(real)
            files[f"{READ}{text}"] = file
    return Parts(
        {name: str(path) for name, path in sorted(sources.items())},
        {name: str(path) for name, path in sorted(files.items())},
        known,
        (*uncompared, *remarks),
        {name: loaded[path] for name, path in sources.items() if path in loaded},
    )


_SNAPSHOT = re.compile(r"/models--([^/]+)/snapshots/([0-9a-f]{40})/")
"""Where the hub's cache keeps the files of a model, by the commit that they are of."""


def _revisions(opened: Iterable[Path]) -> dict[str, str]:
    """The commits of the hub's models that were read."""
    found = filter(None, (_SNAPSHOT.search(str(path)) for path in opened))
    return {f"{READ}hub {each[1].replace('--', '/')}": each[2] for each in found}


def _opened(opened: Iterable[Path], homes: Sequence[Path], left_out: Path | None) -> dict[str, Path]:
    """Those of the files that are the policy's own, by the path from where it lies: those below its folders or the
    current one, hidden ones aside, and weights wherever they lie."""
    found: dict[str, Path] = {}
    beside = left_out.resolve() if left_out is not None else None
    for file in opened:
        if file.suffix in (".pyc", ".lock") or not is_own(file) or (beside and beside in file.resolve().parents):
            continue
        home = next((home for home in homes if home.resolve() in file.parents or home in file.parents), None)
        inside = None if home is None else file.relative_to(home if home in file.parents else home.resolve())
        if inside is not None and not any(part.startswith((".", "__pycache__")) for part in inside.parts):
            found.setdefault(str(inside), file)
        elif is_weights(file.name):
            found.setdefault("/".join(("…", *file.parts[-2:])), file)
    return found


def _defaults(factory: Callable[..., Any]) -> dict[str, Any]:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (ValueError, TypeError):
        return {}
    return {each.name: each.default for each in parameters if each.default is not each.empty}


def read_content(parts: Parts, progress: Callable[[int, int], None] = lambda done, size: None) -> Content:
    """Digests all of it. What cannot be read is said not to be compared.

    Args:
        progress: told of the bytes done and of all of them, from any thread.
    """
    uncompared = list(parts.uncompared)
    sizes = {name: _size(path) for name, path in parts.files.items()}
    total, done = sum(sizes.values()), 0
    large = total > MOST_BYTES or len(sizes) > MOST_FILES
    if large:
        uncompared.append(
            f"the arguments name {len(sizes)} files of {total / 1e9:.0f} GB; their names, sizes and times are "
            "compared, not their content"
        )

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total)

    def digest(name: str, path: str) -> str | None:
        try:
            return _times(path) if large and name in sizes else digest_of(path, advance if name in sizes else _quiet)
        except OSError as error:
            uncompared.append(f"{name} cannot be read ({error.strerror or error})")
            return None

    sources = {name: value for name, path in parts.sources.items() if (value := digest(name, path))} | {
        **parts.as_loaded
    }
    files = {name: value for name, path in parts.files.items() if (value := digest(name, path))}
    return Content(sources, {**_gathered(files), **parts.known}, tuple(uncompared))


def _quiet(_: int) -> None:
    return None


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def _times(path: str) -> str:
    about = Path(path).stat()
    return hashlib.sha256(f"{about.st_size} {about.st_mtime_ns}".encode()).hexdigest()


def _gathered(files: Mapping[str, str]) -> dict[str, str]:
    """Those of a folder of very many files as one."""
    groups: dict[str, dict[str, str]] = {}
    for name, digest in files.items():
        groups.setdefault(name.partition("=")[0], {})[name] = digest
    gathered: dict[str, str] = {}
    for argument, group in groups.items():
        if len(group) <= LISTED:
            gathered |= group
        else:
            text = "".join(f"{name} {digest}\n" for name, digest in sorted(group.items()))
            gathered[f"{argument} ({len(group)} files)"] = hashlib.sha256(text.encode()).hexdigest()
    return gathered


def differences(then: Mapping[str, str], now: Mapping[str, str], here: str = "now") -> list[str]:
    """What differs, in words: ``mix.py cc28… there, 5eb8… now``."""
    lines = []
    for name in sorted({**then, **now}):
        a, b = then.get(name), now.get(name)
        if a != b and not (None in (a, b) and name.startswith(READ) and not is_weights(name)):
            a, b = _short(a, b)
            lines.append(f"{name} {a} there, {b} {here}")
    return lines


def shared_differences(then: Content, now: Content, here: str) -> list[str]:
    """As :func:`differences` between processes, which need not have loaded the same modules, or read the same files,
    by then."""
    both = then.sources.keys() & now.sources.keys()
    both |= {name for name in then.files.keys() & now.files.keys() if name.startswith(READ)}
    mine, theirs = (
        {name: digest for name, digest in each.digests.items() if name in both}
        | {name: digest for name, digest in each.files.items() if not name.startswith(READ)}
        for each in (then, now)
    )
    return differences(mine, theirs, here)


def named(lines: Sequence[str]) -> str:
    """The first differences, and how many there are beyond."""
    more = f"; and {len(lines) - _NAMED} more" if len(lines) > _NAMED else ""
    return "; ".join(lines[:_NAMED]) + more


def _short(a: str | None, b: str | None) -> tuple[str, str]:
    digits = 4
    if a and b:
        while digits < 64 and a[:digits] == b[:digits]:
            digits += 4
    return tuple(  # type: ignore[return-value]
        "absent" if each is None else f"{each[:digits]}…" if len(each) == 64 and set(each) <= _HEX else each
        for each in (a, b)
    )


class SpokenProgress:
    """Says on standard error how far the digesting of large files is, with the time left."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._next = self._began + SPEAK_SECONDS
        self._spoke = False

    def __call__(self, done: int, size: int) -> None:
        """Takes the bytes done and of all."""
        now = time.monotonic()
        if now < self._next or not size:
            return
        left = (now - self._began) * (size - done) / max(done, 1)
        terminal = sys.stderr.isatty()
        self._next = now + (0.5 if terminal else 10.0)
        self._spoke = True
        text = f"reading the policy's files once: {done / 1e9:.1f} of {size / 1e9:.1f} GB, {left:.0f} s left"
        print(f"\r\x1b[K{text}" if terminal else text, end="" if terminal else "\n", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Takes the line away."""
        if self._spoke and sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def content_to_plain(content: Content) -> dict[str, Any]:
    """As JSON's own types."""
    return {
        "sources": dict(content.sources),
        "files": dict(content.files),
        "uncompared": list(content.uncompared),
    }


def content_from_plain(plain: Mapping[str, Any]) -> Content:
    """The inverse of :func:`content_to_plain`."""
    return Content(dict(plain["sources"]), dict(plain["files"]), tuple(plain["uncompared"]))
