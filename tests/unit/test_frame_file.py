"""A frame's npz file, against numpy and zipfile."""

import io
import zipfile

import numpy as np
import pytest

from vla_bench.envs.calvin.dataset import frame_file
from vla_bench.envs.calvin.dataset.reader import read_frame
from vla_bench.envs.errors import DatasetError


def arrays(seed: int = 0) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    return {
        "actions": draw.normal(size=7),
        "robot_obs": draw.normal(size=15).astype(np.float32),
        "rgb_static": draw.integers(0, 256, (30, 40, 3), np.uint8),
        "smooth": np.tile(np.arange(200, dtype=np.uint8), (100, 1)),
        "turned": draw.normal(size=(4, 5)).T,
        "single": np.array(3.5),
        "empty": np.zeros((0, 3)),
        "big_endian": np.arange(5, dtype=">i4"),
        "flags": np.array([True, False]),
    }


def by_zipfile(given: dict[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=frame_file.LEVEL) as archive:
        for key, array in given.items():
            with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array).reshape(np.shape(array)))
    return file.getvalue()


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(found) == list(expected)
    for key, array in expected.items():
        assert found[key].dtype == array.dtype and found[key].shape == array.shape and found[key].flags.writeable
        np.testing.assert_array_equal(found[key], array)


def test_its_bytes_are_those_of_zipfile() -> None:
    for seed in range(5):
        assert frame_file.encode(arrays(seed)) == by_zipfile(arrays(seed))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed, None])
def test_reads_what_numpy_writes(tmp_path, monkeypatch, save) -> None:
    path = tmp_path / "frame.npz"
    if save is None:
        path.write_bytes(frame_file.encode(arrays()))
    else:
        save(path, **{key: array for key, array in arrays().items() if key != "turned"})
    with np.load(path) as held:
        expected = {key: held[key] for key in held.files}
    monkeypatch.setattr(frame_file.np, "load", lambda *_, **__: pytest.fail("left to numpy"))
    same(frame_file.decode(path), expected)
    same(frame_file.decode(path, ("rgb_static", "actions")), {key: expected[key] for key in ("rgb_static", "actions")})


def test_leaves_unusual_files_to_numpy(tmp_path) -> None:
    path = tmp_path / "frame.npz"
    np.savez(path, fortran=np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    same(frame_file.decode(path), {"fortran": np.arange(6.0).reshape(2, 3)})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive, archive.open("rgb.npy", "w") as member:
        np.lib.format.write_array(member, np.arange(9))
    with path.open("ab") as file:  # and with a comment at its end
        file.seek(-2, 2)
    same(frame_file.decode(path), {"rgb": np.arange(9)})


def test_damage_is_found_as_by_numpy(tmp_path) -> None:
    """Every byte altered, every length cut: an error, or the right arrays; never others."""
    small = {"actions": np.arange(7.0), "image": np.arange(12, dtype=np.uint8).reshape(2, 2, 3)}
    good, path = frame_file.encode(small), tmp_path / "frame.npz"
    damaged = [good[:end] for end in range(0, len(good), 3)]
    damaged += [
        good[:at] + bytes([good[at] ^ flip]) + good[at + 1 :] for at in range(len(good)) for flip in (1 << at % 8,)
    ]
    for content in damaged:
        path.write_bytes(content)
        try:
            found = read_frame(path, tuple(small))
        except DatasetError:
            continue
        same(found, small)


def test_a_frame_that_claims_to_be_huge_takes_no_memory(tmp_path) -> None:
    good = bytearray(frame_file.encode({"a": np.zeros(10_000_000, np.uint8)}))
    place = good.index(b"PK\1\2") + 24
    good[place : place + 4] = (100).to_bytes(4, "little")
    (tmp_path / "frame.npz").write_bytes(good)
    with pytest.raises(DatasetError, match="damaged"):
        read_frame(tmp_path / "frame.npz")


def test_python_objects_and_missing_keys_are_refused(tmp_path) -> None:
    path = tmp_path / "frame.npz"
    np.savez(path, a=np.array([{}], object), b=np.zeros(2))
    with pytest.raises(DatasetError, match="damaged"):
        read_frame(path)
    with pytest.raises(DatasetError, match="has no c"):
        read_frame(path, ("b", "c"))
    np.save(tmp_path / "one.npy", np.zeros(2))
    with pytest.raises(DatasetError, match="one array"):
        read_frame(tmp_path / "one.npy")


def test_sums_are_checked(tmp_path) -> None:
    stored = io.BytesIO()
    np.savez(stored, a=np.arange(100))
    content = bytearray(stored.getvalue())
    content[200] ^= 1
    (tmp_path / "frame.npz").write_bytes(content)
    with pytest.raises(DatasetError, match="damaged"):
        read_frame(tmp_path / "frame.npz")
