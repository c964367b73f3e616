"""Archives that are cut off or altered are what each reader says of them, and never a traceback."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vla_bench.bench.errors import ResultSetError
from vla_bench.bench.video.trace import Trace
from vla_bench.envs.calvin.dataset.reader import read_frame
from vla_bench.envs.calvin.renderers.fast import library
from vla_bench.envs.damaged import DAMAGED_ARCHIVE
from vla_bench.envs.errors import DatasetError
from vla_bench.envs.simulation import environment_spec
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.replay import ReplayPolicy

ARRAYS = {"a": np.arange(12.0).reshape(3, 4), "about": np.array("{}")}
MARKS = b"0123456789()[]{}',\"\\#\n <>|"


def archive(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(f"{name}.npy", content)
    return file.getvalue()


def stored(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array)
    return file.getvalue()


def headed(header: str) -> bytes:
    """An archive, whole by its checksums, of an array with a header of this text."""
    text = header.ljust(117).encode() + b"\n"
    return archive({"a": b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(96)})


def damaged() -> dict[str, bytes]:
    whole = archive({name: stored(array) for name, array in ARRAYS.items()})
    flagged, method = bytearray(whole), bytearray(whole)
    for at in (index for index in range(len(whole) - 4) if whole[index : index + 4] == b"PK\x01\x02"):
        flagged[at + 8] |= 1  # "encrypted"
        method[at + 10] = 97  # a compression that Python does not know
    found = {
        "empty": b"",
        "no archive": b"hello",
        "one array": stored(ARRAYS["a"]),
        "encrypted": bytes(flagged),
        "unknown compression": bytes(method),
        "open bracket": headed("{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4"),
        "leading zero": headed("{'descr': '<f8', 'fortran_order': False, 'shape': (3, 04), }"),
        "beyond all bounds": headed(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({10**30},), }}"),
        "beyond memory": headed(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({10**14},), }}"),
    }
    draw = random.Random(0)
    for number in range(60):
        found[f"cut {number}"] = whole[: draw.randrange(len(whole))]
        bytes_of = bytearray(whole)
        bytes_of[draw.randrange(len(whole))] = draw.randrange(256)
        found[f"byte {number}"] = bytes(bytes_of)
        members = {name: bytearray(stored(array)) for name, array in ARRAYS.items()}
        members["a"][draw.randrange(128)] = draw.choice(MARKS)
        found[f"header {number}"] = archive({name: bytes(content) for name, content in members.items()})
    return found


DAMAGED = damaged()


def frame(path: Path) -> None:
    with pytest.raises(DatasetError):
        read_frame(path, ("a", "missing"))


def replayed(path: Path) -> None:
    with pytest.raises(PolicyError):
        ReplayPolicy(environment_spec("calvin"), str(path))


def trace(path: Path) -> None:
    with pytest.raises(ResultSetError):
        Trace.read(path)


def mesh(path: Path) -> None:
    assert library._load(path) is None


@pytest.mark.parametrize("read", [frame, replayed, trace, mesh])
def test_a_damaged_archive_is_what_its_reader_says(tmp_path: Path, read: Callable[[Path], None]) -> None:
    for name, content in DAMAGED.items():
        path = tmp_path / f"{name.replace(' ', '_')}.npz"
        path.write_bytes(content)
        read(path)


@pytest.mark.parametrize(
    "name", ["encrypted", "unknown compression", "open bracket", "leading zero", "beyond all bounds"]
)
def test_each_kind_is_one_that_numpy_raises(name: str) -> None:
    with pytest.raises(DAMAGED_ARCHIVE), np.load(io.BytesIO(DAMAGED[name])) as file:
        file["a"]
