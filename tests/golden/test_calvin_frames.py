"""TinyRenderer frames and depth equal the recorded ones, pixel for pixel."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from calvin_recordings import GOLDEN, needs_assets, needs_golden, recordings
from PIL import Image

from vla_bench.envs.calvin.bundle import find_bundle
from vla_bench.envs.calvin.simulation import CalvinSimulation
from vla_bench.envs.observation import Sensors
from vla_bench.envs.simulation import EpisodeStart

pytestmark = [needs_golden, needs_assets]
FRAME = re.compile(r"(?P<scene>[A-D])_(?P<name>.+)_t(?P<step>\d+)_(?P<camera>static|gripper)_tiny\.png")


def recorded_frames() -> dict[tuple[str, str], dict[int, list[str]]]:
    """Cameras by step, by scene and trajectory."""
    found: dict[tuple[str, str], dict[int, list[str]]] = {}
    for path in sorted(Path(GOLDEN or ".").glob("frames/*_tiny.png")):
        frame = FRAME.fullmatch(path.name)
        steps = found.setdefault((frame["scene"], frame["name"]), {})
        steps.setdefault(int(frame["step"]), []).append(frame["camera"])
    return found


@pytest.mark.parametrize(("scene", "name"), sorted(recorded_frames()))
def test_tiny_frames_equal_the_recorded_ones(scene, name):
    steps = recorded_frames()[scene, name]
    recording = next((r for r in recordings(f"traj_{scene}") if r.name == name), None)
    if recording is None:
        pytest.skip(f"frames of {scene}/{name} are there, but not its trajectory")
    simulation = CalvinSimulation(find_bundle("official"), Sensors.of("static", "gripper", depth=True), renderer="tiny")
    simulation.reset(EpisodeStart(scene, recording.start()))
    folder = Path(GOLDEN) / "frames"
    with np.load(folder / f"{scene}_{name}_tiny_depth.npz") as file:
        depths = {key: file[key] for key in file.files}
    for t, action in enumerate([None, *recording.actions()]):
        if action is not None:
            simulation.world.step(action)
        if t in steps:
            observation = simulation.observe()
            for camera in steps[t]:
                stem = f"{scene}_{name}_t{t:03d}_{camera}_tiny"
                recorded = np.asarray(Image.open(folder / f"{stem}.png").convert("RGB"))
                assert np.array_equal(observation[f"rgb_{camera}"], recorded), stem
                assert np.array_equal(observation[f"depth_{camera}"], depths[f"{stem}_depth"]), stem
    simulation.close()
