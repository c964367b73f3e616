"""What a training window costs to read, packed and from CALVIN's files: ``python -m tools.data_reading``.

Times are CPU seconds of this process. The original loader's work is restated from what it does (DiskCalvinDataset of
RoboVLMs 8adc1d2): open W + C npz files, decompress the keys it uses, resize every frame of *both* cameras with
Pillow's bicubic filter, and make floats of them. The packed reader gets the same window: W frames of both cameras at
the same size, and the actions. Then a packed set of a million frames, made sparse, is opened and read at random while
the process's memory is watched.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vla_bench.envs.calvin.dataset import Dataset, DatasetWriter, RecordedAnnotation, Recording, open_dataset
from vla_bench.envs.calvin.dataset.layout import CAMERAS, NUMBERS
from vla_bench.envs.calvin.dataset.packed import ANNOTATIONS, BLOCK, FORMAT, INDEX
from vla_bench.envs.calvin.dataset.packing import pack, plan_packing, resized

READ = ("rgb_static", "rgb_gripper", "robot_obs", "rel_actions", "scene_obs")
"""Keys that the original loader decompresses of each frame."""
MEAN, DEVIATION = np.float32([122.8, 116.7, 104.1]), np.float32([68.5, 66.6, 70.3])


def main(arguments: list[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m tools.data_reading", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", type=Path, help="a data set of CALVIN's layout (one is made up)")
    parser.add_argument("--window", type=int, default=8)
    parser.add_argument("--chunk", type=int, default=10)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--windows", type=int, default=20, help="windows read from files; ten times as many packed")
    parser.add_argument("--frames", type=int, default=1_000_000, help="frames of the sparse set")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        source = open_dataset(given.data or made_up(folder / "source"))
        _compare(source, folder / "packed", given)
        _million(folder / "sparse", given)


def made_up(folder: Path) -> Path:
    """A set with frames of about 150 kB: smooth pictures with the noise of a rendered texture."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:200, :200]
    smooth = np.stack([x, y, x + y], -1) * 0.6
    with DatasetWriter(folder / "training") as writer:
        for _ in range(2):
            steps = 64
            images = {
                key: (smooth[:size, :size] + random.normal(0, 3, (steps + 1, size, size, 3))).clip(0, 255).astype("u1")
                for key, (size, _, _) in CAMERAS.items()
            }
            writer.write(
                Recording(
                    scene="D",
                    robot_obs=np.cumsum(random.normal(0, 0.005, (steps + 1, 15)), 0),
                    scene_obs=np.zeros((steps + 1, 24)),
                    images=images,
                    annotations=(RecordedAnnotation(0, steps, "open_drawer", "pull the handle"),),
                )
            )
    return folder


def _compare(source: Dataset, folder: Path, given: argparse.Namespace) -> None:
    w, c, size = given.window, given.chunk, given.size
    first = source.annotations[0].start
    starts = [each.start for each in source.annotations for _ in range(10)]
    files = sum(os.path.getsize(source.path(first + n)) for n in range(8)) / 8e3  # type: ignore[attr-defined]
    packed = pack(source, folder, plan_packing(source, sizes=dict.fromkeys(CAMERAS, size)))

    def original(start: int) -> None:
        frames = []
        for index in range(start, start + w + c):
            with np.load(source.path(index)) as held:  # type: ignore[attr-defined]
                frames.append({key: held[key] for key in READ})
        for key in CAMERAS:
            _floats(resized(np.stack([frame[key] for frame in frames]), size, size))

    def ours(start: int) -> dict[str, np.ndarray]:
        packed.frames(range(start, start + w + c - 1), ("rel_actions",))
        return packed.frames(range(start, start + w), (*CAMERAS, "robot_obs"))

    def ours_as_floats(start: int) -> None:
        for images in map(ours(start).get, CAMERAS):
            _floats(images)

    def ours_from_files(start: int) -> None:
        source.frames(range(start, start + w + c - 1), ("rel_actions",))
        source.frames(range(start, start + w), (*CAMERAS, "robot_obs"))

    print(f"window {w}, chunk {c}, both cameras at {size} px, files of {files:.0f} kB; CPU time per window")
    base = _cost(original, starts, given.windows)
    _line("original loader's work", base, base)
    _line("packed", _cost(ours, starts, 10 * given.windows), base)
    _line("packed, and floats of it", _cost(ours_as_floats, starts, 5 * given.windows), base)
    _line("CALVIN's files, only what is needed, unresized", _cost(ours_from_files, starts, given.windows), base)


def _floats(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(((images.astype(np.float32) - MEAN) / DEVIATION).transpose(0, 3, 1, 2))


def _cost(work: Callable[[int], object], starts: list[int], count: int) -> float:
    work(starts[0])
    best = np.inf
    for _ in range(3):
        begun = time.process_time()
        for number in range(count):
            work(starts[number % len(starts)] + number % 20)
        best = min(best, (time.process_time() - begun) / count)
    return best


def _line(what: str, seconds: float, base: float) -> None:
    print(f"  {what:<48} {seconds * 1e3:8.2f} ms   1/{base / seconds:.1f} of it", flush=True)


def sparse_set(folder: Path, frames: int, size: int) -> Path:
    """A packed set of so many frames with holes for content: it takes no room on the disk."""
    folder.mkdir(parents=True)
    shapes = {**{key: (count,) for key, count in NUMBERS.items()}, **dict.fromkeys(CAMERAS, (size, size, 3))}
    for key, shape in shapes.items():
        with (folder / f"{key}.npy").open("wb") as file:
            dtype = np.dtype(np.uint8 if key in CAMERAS else np.float32)
            header = {"descr": dtype.str, "fortran_order": False, "shape": (frames, *shape)}
            np.lib.format.write_array_header_1_0(file, header)
            file.truncate(file.tell() + frames * int(np.prod(shape)) * dtype.itemsize)
    length, gap = 60, 4
    ranges = [[n * (length + gap), n * (length + gap) + length - 1, n * length] for n in range(frames // length)]
    rows = [[first, last, "open_drawer", f"pull the handle {first % 400}", "D"] for first, last, _ in ranges]
    (folder / ANNOTATIONS).write_text(json.dumps(rows))
    index = {
        "format": FORMAT,
        "complete": True,
        "source": "made up",
        "label": "achieved",
        "digest": "0" * 16,
        "rows": frames,
        "block": BLOCK,
        "ranges": ranges,
        "recordings": [[first, last] for first, last, _ in ranges],
        "keys": list(shapes),
        "sums": {key: [0] * -(-frames // BLOCK) for key in shapes},
    }
    (folder / INDEX).write_text(json.dumps(index))
    return folder


def _million(folder: Path, given: argparse.Namespace) -> None:
    sparse_set(folder, given.frames, given.size)
    begun = time.perf_counter(), time.process_time()
    dataset = open_dataset(folder)
    count = len(dataset.annotations)
    wall, cpu = time.perf_counter() - begun[0], time.process_time() - begun[1]
    print(f"a set of {given.frames} frames and {count} annotations opens in {wall:.2f} s ({cpu:.2f} s CPU)")
    random, before = np.random.default_rng(0), 0.0
    for number in range(3001):
        each = dataset.annotations[random.integers(count)]
        dataset.frames(range(each.start, each.start + given.window), (*CAMERAS, "rel_actions"))
        if number == 500:
            before = resident()
    print(f"memory after 500 windows {before:.1f} MB, after 3000 {resident():.1f} MB")


def resident() -> float:
    """Megabytes of memory this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
