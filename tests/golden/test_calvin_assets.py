"""The manifest of the official bundle names exactly the files that the scenes reach."""

from __future__ import annotations

import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from calvin_recordings import ASSETS, needs_assets

from vla_bench.envs.calvin.bundle import ANNOTATIONS, AssetBundle, find_bundle
from vla_bench.envs.calvin.official.fetch import fetch_official
from vla_bench.envs.calvin.official.manifest import bundle_files, needed_files
from vla_bench.envs.calvin.official.sources import FolderSource
from vla_bench.envs.calvin.scenes import SCENES
from vla_bench.envs.calvin.simulation import CalvinSimulation
from vla_bench.envs.observation import Sensors
from vla_bench.envs.simulation import EpisodeStart

pytestmark = needs_assets


def reached(data: Path, urdf: str) -> set[Path]:
    """The URDF, its meshes, their materials and textures, as far as they exist."""
    found: set[Path] = set()

    def visit(path: Path) -> None:
        if path in found or not path.is_file():
            return  # some meshes name materials that the original does not have
        found.add(path)
        if path.suffix == ".obj":
            lines = (line.split(None, 1) for line in path.read_text(errors="replace").splitlines())
            for words in filter(lambda words: words[:1] == ["mtllib"], lines):
                visit(path.parent / words[1].strip())
        elif path.suffix == ".mtl":
            for line in path.read_text(errors="replace").splitlines():
                words = line.split()
                if words and words[0].startswith("map_"):
                    visit(path.parent / words[-1])

    robot = data / urdf
    visit(robot)
    for mesh in ElementTree.parse(robot).iter("mesh"):
        name = mesh.get("filename").removeprefix("package://")
        visit(next(f for f in (robot.parent / name, robot.parents[1] / name) if f.is_file()).resolve())
    return found


def test_the_manifest_is_what_the_scenes_reach():
    data = Path(ASSETS).resolve() / "data"
    urdfs = ["franka_panda/panda_longer_finger.urdf", "plane/plane.urdf"]
    for scene in SCENES.values():
        urdfs += [scene.urdf, *(block.urdf for block in scene.blocks)]
    files = {path for urdf in urdfs for path in reached(data, urdf)}
    names = {f"data/{path.resolve().relative_to(data).as_posix()}" for path in files} | {ANNOTATIONS}
    assert names == {file.path for file in needed_files()}
    assert len(names) == 120


def test_the_manifest_has_every_licence_text():
    kept = {file.path for file in bundle_files() if not file.needed}
    assert {"LICENSE.calvin", "LICENSE.calvin_env", "data/franka_panda/LICENSE.txt"} <= kept


@pytest.fixture(scope="module")
def fetched(tmp_path_factory):
    root = tmp_path_factory.mktemp("assets") / "bundle"
    fetch_official(root, [FolderSource(Path(ASSETS))])
    yield AssetBundle("official", root)
    shutil.rmtree(root)


def test_a_fetched_bundle_has_the_same_checksum(fetched):
    fetched.check()
    assert fetched.checksum == find_bundle("official").checksum


@pytest.mark.parametrize("scene", SCENES)
def test_a_fetched_bundle_simulates_and_looks_the_same(fetched, scene):
    """Nothing a scene needs is left out: the same states and the same pixels as with every file."""
    seen = []
    for bundle in (fetched, find_bundle("official")):
        simulation = CalvinSimulation(bundle, Sensors.of("static", "gripper"), renderer="tiny")
        simulation.reset(EpisodeStart(scene))
        simulation.begin("open_drawer")
        simulation.advance(np.tile([0.5, 0.8, -1.0, 0.2, 0.0, 0.3, -1.0], (20, 1)))
        seen.append({name: value.tobytes() for name, value in simulation.observe().arrays.items()})
        simulation.close()
    assert seen[0] == seen[1]
