"""Renderers against the frames recorded from the original's OpenGL renderer (Mesa llvmpipe)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from calvin_recordings import GOLDEN, needs_assets, needs_golden, recordings
from PIL import Image

from tools.likeness import compare, difference, structural_similarity
from vla_bench.envs.calvin.bundle import find_bundle
from vla_bench.envs.calvin.cameras import view_of
from vla_bench.envs.calvin.renderers import make_renderer
from vla_bench.envs.calvin.simulation import CalvinSimulation
from vla_bench.envs.errors import RendererError
from vla_bench.envs.observation import Camera
from vla_bench.envs.simulation import EpisodeStart

pytestmark = [needs_golden, needs_assets]
FRAME = re.compile(r"(?P<scene>[A-D])_(?P<name>.+)_t(?P<step>\d+)_(?P<camera>static|gripper)_egl\.png")
RECORDED_DRIVER = "Mesa 22.3.6"
NEAR_ENOUGH = 5.0
"""Metres. Beyond, where only the floor is, a step of the 16-bit depth buffer is more than 4 cm, and the
driver's single-precision arithmetic on the 30 m large floor is off by several."""


def recorded_frames() -> dict[tuple[str, str], dict[int, list[str]]]:
    """Cameras by step, by scene and trajectory."""
    found: dict[tuple[str, str], dict[int, list[str]]] = {}
    for path in sorted(Path(GOLDEN or ".").glob("frames/*_egl.png")):
        frame = FRAME.fullmatch(path.name)
        steps = found.setdefault((frame["scene"], frame["name"]), {})
        steps.setdefault(int(frame["step"]), []).append(frame["camera"])
    return found


@pytest.fixture(scope="module", params=["fast", "egl"])
def renderer(request):
    """One renderer for all frames, so that it also changes scenes."""
    import pybullet

    try:
        made = make_renderer(request.param, pybullet)
    except RendererError as error:
        pytest.skip(str(error))
    yield made
    made.close()


def frames(renderer, scene: str, name: str):
    """Stem, view, rendered colours and depth, recorded colours and depth of one trajectory's frames."""
    recording = next((r for r in recordings(f"traj_{scene}") if r.name == name), None)
    if recording is None:
        pytest.skip(f"frames of {scene}/{name} are there, but not its trajectory")
    folder = Path(GOLDEN) / "frames"
    with np.load(folder / f"{scene}_{name}_egl_depth.npz") as file:
        depths = {key: file[key] for key in file.files}
    steps = recorded_frames()[scene, name]
    simulation = CalvinSimulation(find_bundle("official"))
    simulation.reset(EpisodeStart(scene, recording.start()))
    world = simulation.world
    renderer.load(world)
    for t, action in enumerate([None, *recording.actions()]):
        if action is not None:
            world.step(action)
        for camera in steps.get(t, ()):
            import pybullet

            view = view_of(Camera(camera, depth=True), pybullet, world.client, world.robot.body)
            stem = f"{scene}_{name}_t{t:03d}_{camera}_egl"
            recorded = np.asarray(Image.open(folder / f"{stem}.png").convert("RGB"))
            yield stem, view, *renderer.render(view), recorded, depths[f"{stem}_depth"]
    simulation.close()


@pytest.mark.parametrize(("scene", "name"), sorted(recorded_frames()))
def test_frames_are_those_of_the_original(renderer, scene, name):
    about = renderer.describe()
    equal = RECORDED_DRIVER in about.get("gl_version", "") and "llvmpipe" in about["gl_renderer"]
    seen = 0
    for stem, view, rgb, depth, recorded_rgb, recorded_depth in frames(renderer, scene, name):
        seen += 1
        if equal:
            assert np.array_equal(rgb, recorded_rgb), stem
            assert np.array_equal(depth, recorded_depth), stem
            continue
        # Another driver's depth buffer may be finer, which moves the edges of blocks and handles.
        assert difference(rgb, recorded_rgb) <= (1.5 if about["name"] == "fast" else 2.5), stem
        assert structural_similarity(rgb, recorded_rgb) >= (0.97 if about["name"] == "fast" else 0.9), stem
        close = recorded_depth < NEAR_ENOUGH
        step = recorded_depth**2 * (view.far - view.near) / (view.far * view.near * 65535)
        error = np.abs(depth - recorded_depth)
        assert (error[close] <= np.maximum(1.01 * step[close], 0.002)).mean() >= 0.97, stem
        assert error.mean() <= 0.01, stem
    assert seen == sum(len(cameras) for cameras in recorded_frames()[scene, name].values())


@pytest.mark.parametrize("scene", "BC")
def test_fast_looks_like_opengl_on_the_builtin_tables(scene):
    import pybullet

    try:
        reference = make_renderer("egl", pybullet)
    except RendererError as error:
        pytest.skip(str(error))
    fast = make_renderer("fast", pybullet)
    for frames_of_camera in compare(fast, reference, "builtin", scene, frames=2, seed=1).values():
        for off, similarity in frames_of_camera:
            assert off <= 1.5
            assert similarity >= 0.97
    reference.close()


def test_fast_frames_do_not_depend_on_what_was_drawn_before():
    """The same state gives the same bits from a fresh renderer and from one that has seen others."""
    import pybullet

    used, results = make_renderer("fast", pybullet), []
    for scene, name in sorted(recorded_frames())[:2]:
        list(frames(used, scene, name))
    scene, name = min(recorded_frames())
    for renderer in (used, make_renderer("fast", pybullet)):
        results.append([(rgb, depth) for _, _, rgb, depth, _, _ in frames(renderer, scene, name)])
    for (rgb, depth), (other_rgb, other_depth) in zip(*results, strict=True):
        assert np.array_equal(rgb, other_rgb)
        assert np.array_equal(depth, other_depth)
