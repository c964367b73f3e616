"""An extraction on disk: ``vectors.safetensors``, ``rows.parquet`` and ``about.json``.

The tensors' file is laid out at its full size when the shapes are known, and rows are written in their places, so that
nothing grows with the number of samples. Until the last row is in, its name is ``vectors.safetensors.part``, and
``rows.jsonl.part`` says, a line each, which rows are done.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vla_bench.bench.errors import BenchError

FORMAT = 1
VECTORS, ROWS, ABOUT = "vectors.safetensors", "rows.parquet", "about.json"
LINES = "rows.jsonl.part"
DIFFERING = {"content": "policy's code or files", "arguments": "policy's arguments", "at": "places"}
"""What parts of an extraction's identity are called for people, where it is not their own name."""
GROUP = 500
"""Rows of parquet that are written together."""


class VectorsError(BenchError):
    """An extraction cannot be read or written, or is not what is needed."""


@dataclass(frozen=True)
class Extraction:
    """A finished extraction."""

    folder: Path
    about: Mapping[str, Any]
    rows: Any
    """pandas.DataFrame, a row a sample: episode, frame, task, instruction, scene, position, success …"""

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.folder.resolve().name

    @property
    def places(self) -> tuple[str, ...]:
        """Where the policy was listened to."""
        return tuple(self.about["places"])

    def dtype(self, place: str) -> str:
        """What the network computed a place in, e.g. ``bfloat16``; empty where nothing says so."""
        return str((self.about.get("dtypes") or {}).get(place, ""))

    def vectors(self, place: str) -> np.ndarray:
        """(n, ...) float32 of one place.

        Raises:
            VectorsError: there is no such place, or a number is not finite.
        """
        from vla_bench.bench.errors import suggestion

        if place not in self.places:
            raise VectorsError(
                f"{self.folder} has no place {place!r}; it has {', '.join(self.places)}."
                f"{suggestion(place, self.places)}"
            )
        from safetensors import safe_open

        with safe_open(str(self.folder / VECTORS), framework="numpy") as file:
            found = file.get_tensor(place)
        bad = ~np.isfinite(found.reshape(len(found), -1)).all(1)
        if bad.any():
            row = self.rows.iloc[int(bad.argmax())]
            computed = f" (it computes in {self.dtype(place)})" if self.dtype(place) else ""
            raise VectorsError(
                f"{self.folder}: {int(bad.sum())} of {len(found)} vectors at {place} are not finite, the first at "
                f"episode {row['episode']}, frame {row['frame']}: the policy overflows there{computed}, so "
                "nothing is computed from them"
            )
        return found


def needs_analysis() -> None:
    """VectorsError: what describing and comparing needs is not installed."""
    from importlib.util import find_spec

    from vla_bench.program import installing

    if missing := [name for name in ("scipy", "sklearn") if find_spec(name) is None]:
        raise VectorsError(f"vectors are described with the package {missing[0]!r}; type: {installing('analysis')}")


def read(folder: Path) -> Extraction:
    """Opens an extraction.

    Raises:
        VectorsError: it is not there, not finished, cut off or of another form.
    """
    import pandas

    if (folder / f"{VECTORS}.part").exists():
        raise VectorsError(f"{folder} is not finished; the command that began it goes on from where it was")
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        form, _ = about["format"], about["identity"]["frames"]
    except FileNotFoundError:
        raise VectorsError(
            f"{folder} holds no extraction ({ABOUT} is missing); make one with vectors extract"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VectorsError(f"{folder / ABOUT} is damaged ({error}); extract again") from error
    if form != FORMAT:
        raise VectorsError(f"{folder} is of form {form}, this version reads {FORMAT}; extract again")
    if not about.get("places"):
        raise VectorsError(f"{folder} is not finished; the command that began it goes on from where it was")
    try:
        rows = pandas.read_parquet(folder / ROWS)
        rows[["episode", "frame", "task"]]
    except Exception as error:  # pyarrow's own kinds
        raise VectorsError(f"{folder / ROWS} is missing, cut off or damaged; extract again") from error
    shapes = {place: tuple(shape) for place, shape in about["places"].items()}
    header = _header(shapes, len(rows))
    size = _size(header, shapes, len(rows))
    try:
        held = (folder / VECTORS).stat().st_size
        with (folder / VECTORS).open("rb") as file:
            begun = file.read(len(header))
    except OSError as error:
        raise VectorsError(f"cannot read {folder / VECTORS}: {error.strerror}; extract again") from error
    if held != size:
        raise VectorsError(f"{folder / VECTORS} has {held} bytes, {size} are wanted: it was cut off; extract again")
    if begun != header:
        raise VectorsError(f"{folder / VECTORS} is damaged, or of another extraction than {ABOUT}; extract again")
    return Extraction(folder, about, rows)


def common_places(found: Sequence[Extraction]) -> list[str]:
    """Places that all have, in the order of the first. VectorsError: none."""
    common = [place for place in found[0].places if all(place in each.places for each in found)]
    if not common:
        listed = " and ".join(", ".join(each.places) for each in found)
        raise VectorsError(
            f"{' and '.join(str(each.folder) for each in found)} have no place in common: {listed}; extract both with "
            "the same --at"
        )
    return common


def shapes_of(folder: Path) -> dict[str, tuple[int, ...]]:
    """Shape of one vector at each place of an extraction that is there."""
    about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    return {place: tuple(shape) for place, shape in about["places"].items()}


def _header(shapes: Mapping[str, Sequence[int]], samples: int) -> bytes:
    """The form that safetensors states: 8 bytes of length, JSON padded to 8, then the tensors one after the other."""
    offset, entries = 0, {}
    for place, shape in shapes.items():
        length = samples * int(np.prod(shape)) * 4
        entries[place] = {"dtype": "F32", "shape": [samples, *shape], "data_offsets": [offset, offset + length]}
        offset += length
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _size(header: bytes, shapes: Mapping[str, Sequence[int]], samples: int) -> int:
    return len(header) + sum(samples * int(np.prod(shape)) * 4 for shape in shapes.values())


class Writer:
    """Writes an extraction row after row; open it again, and it goes on after the last whole batch.

    Args:
        folder: Where to.
        about: What the extraction is; another one in the folder is refused.
        samples: Rows there will be.

    Raises:
        VectorsError: the folder holds another extraction or cannot be written.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any], samples: int) -> None:
        self.folder, self.samples = folder, samples
        self._about = dict(about)
        self._file: int | None = None
        self._header = b""
        self._shapes: dict[str, tuple[int, ...]] = {}
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            earlier = folder / ABOUT
            if earlier.exists():
                self._check(earlier)
            self.done = self._resume()
            if not self.finished:
                self._write_about()

    @property
    def finished(self) -> bool:
        """Whether all rows are in and the files have their names."""
        return (self.folder / ROWS).exists()

    def _check(self, earlier: Path) -> None:
        try:
            before = json.loads(earlier.read_text(encoding="utf-8"))
        except ValueError as error:
            raise VectorsError(f"{earlier} is damaged; remove the folder, or name another --output") from error
        if not before.get("places"):  # nothing was extracted, so that there is nothing to lose
            return
        differs = [
            name for name in ("identity", *self._about["identity"]) if _at(before, name) != _at(self._about, name)
        ]
        if differs:
            what = DIFFERING.get(differs[-1], differs[-1])
            raise VectorsError(
                f"{self.folder} holds another extraction (its {what} differ); name another --output, or remove it"
            )
        self._shapes = {place: tuple(shape) for place, shape in before.get("places", {}).items()}
        self._about |= {"dtypes": before["dtypes"]} if "dtypes" in before else {}

    def _resume(self) -> int:
        lines = self.folder / LINES
        if self.finished:
            return self.samples
        if not self._shapes or not lines.exists() or not (self.folder / f"{VECTORS}.part").exists():
            self._shapes = {}
            lines.unlink(missing_ok=True)
            return 0
        self._open(self._shapes)
        whole = 0
        with lines.open("rb+") as file:
            done = 0
            for line in file:
                if not line.endswith(b"\n"):
                    break
                whole, done = whole + len(line), done + 1
            file.truncate(whole)
        return done

    def _open(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._shapes = dict(shapes)
        self._header = _header(self._shapes, self.samples)
        path = self.folder / f"{VECTORS}.part"
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        # All of the room is taken now: a full disk is told before the work, not after hours of it.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._file, 0, _size(self._header, self._shapes, self.samples))
        os.pwrite(self._file, self._header, 0)

    def _write_about(self) -> None:
        plain = {"format": FORMAT, **self._about, "places": {k: list(v) for k, v in self._shapes.items()}}
        part = self.folder / f"{ABOUT}.part"
        part.write_text(json.dumps(plain, indent=1, ensure_ascii=False), encoding="utf-8")
        part.replace(self.folder / ABOUT)

    def tell(self, dtypes: Mapping[str, str]) -> None:
        """What the network computes each place in; before the first rows."""
        self._about.setdefault("dtypes", dict(dtypes))

    def add(self, vectors: Mapping[str, np.ndarray], rows: Sequence[Mapping[str, Any]]) -> None:
        """Writes the next rows: (k, ...) float32 of each place, and what they are.

        Raises:
            VectorsError: the disk is full, or a place's shape is not that of the rows before.
        """
        with writing(self.folder):
            shapes = {place: tuple(array.shape[1:]) for place, array in vectors.items()}
            if self._file is None:
                self._open(shapes)
                self._write_about()
            offset = len(self._header)
            for place, shape in self._shapes.items():
                if shapes.get(place) != shape:
                    raise VectorsError(
                        f"{place} gave a vector of shape {shapes.get(place)}, those before were {shape}: its "
                        "length depends on the frame; bring it down with --tokens"
                    )
                row = int(np.prod(shape)) * 4
                content = np.ascontiguousarray(vectors[place], np.float32)
                assert self._file is not None
                os.pwrite(self._file, content.tobytes(), offset + self.done * row)
                offset += self.samples * row
            with (self.folder / LINES).open("ab") as file:
                for each in rows:
                    file.write(json.dumps(each, ensure_ascii=False).encode() + b"\n")
            self.done += len(rows)

    def finish(self) -> None:
        """Gives the files their names."""
        with writing(self.folder):
            assert self.done == self.samples
            if self._file is not None:
                os.close(self._file)
                self._file = None
            _write_parquet(self.folder)
            (self.folder / f"{VECTORS}.part").replace(self.folder / VECTORS)
            (self.folder / f"{ROWS}.part").replace(self.folder / ROWS)
            (self.folder / LINES).unlink()

    def close(self) -> None:
        """Closes the files; what is written stays."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _at(plain: Mapping[str, Any], name: str) -> Any:
    return plain.get("identity") if name == "identity" else (plain.get("identity") or {}).get(name)


def _lines(path: Path) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    with path.open("rb") as file:
        for line in file:
            group.append(json.loads(line))
            if len(group) == GROUP:
                yield group
                group = []
    if group:
        yield group


def _write_parquet(folder: Path) -> None:
    import base64

    import pyarrow
    import pyarrow.parquet

    kinds = {
        "source": pyarrow.string(), "episode": pyarrow.string(), "frame": pyarrow.int64(), "task": pyarrow.string(),
        "instruction": pyarrow.string(), "scene": pyarrow.string(), "path": pyarrow.string(),
        "position": pyarrow.float64(), "success": pyarrow.bool_(), "faithful": pyarrow.bool_(),
        "stratum": pyarrow.string(), "reason": pyarrow.string(), "gripper": pyarrow.float64(), "x": pyarrow.float64(),
        "y": pyarrow.float64(), "z": pyarrow.float64(), "picture": pyarrow.binary(),
    }  # fmt: skip
    schema = pyarrow.schema(list(kinds.items()))
    with pyarrow.parquet.ParquetWriter(folder / f"{ROWS}.part", schema) as writer:
        for group in _lines(folder / LINES):
            for row in group:
                row["picture"] = base64.b64decode(row["picture"]) if row.get("picture") else None
            table = pyarrow.table({name: [row.get(name) for row in group] for name in kinds}, schema=schema)
            writer.write_table(table)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turns what the disk refuses into a sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise VectorsError(
                f"the disk of {folder} is full; free some room, and the same command goes on from here"
            ) from error
        raise VectorsError(f"cannot write in {folder}: {error.strerror or error}") from error
