"""The built-in asset bundle: what is shipped is what the code makes, and it is sound."""

from __future__ import annotations

import io
import itertools
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from vla_bench.envs.calvin.builtin import ASSETS, generate
from vla_bench.envs.calvin.builtin.shapes import box as box_mesh
from vla_bench.envs.calvin.builtin.shapes import exposed, grained, prism, turned
from vla_bench.envs.calvin.scenes import GLOBAL_SCALING, SCENES
from vla_bench.envs.calvin.tasks import TASKS

# World metres, measured in the official scenes.
RANGES = {
    "A": {"slide": 0.28, "drawer": 0.22, "button": 0.02, "switch": 0.088},
    "B": {"slide": 0.304, "drawer": 0.22, "button": 0.02, "switch": 0.088},
    "C": {"slide": 0.24, "drawer": 0.22, "button": 0.02, "switch": 0.088},
    "D": {"slide": 0.28, "drawer": 0.22, "button": 0.02, "switch": 0.088},
}
BUTTON = {"A": (-0.28, -0.12), "B": (0.28, -0.12), "C": (-0.12, -0.12), "D": (-0.12, -0.12)}
SWITCH_X = {"A": 0.30, "B": -0.32, "C": -0.32, "D": 0.30}
HANDLE_X = {"A": (0.04, 0.10), "B": (0.228, 0.18), "C": (0.20, 0.10), "D": (0.04, 0.18)}


@pytest.fixture(scope="module")
def made() -> dict[str, bytes]:
    return generate.bundle_files()


def urdf(path: str) -> ElementTree.Element:
    return ElementTree.parse(ASSETS / "data" / path).getroot()


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), int)


def objects(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Points (N, 3) and triangles (M, 3) of each object of an OBJ file."""
    points, found = [], []
    for line in path.read_text().splitlines():
        kind, *rest = line.split()
        if kind == "o":
            found.append([])
        elif kind == "v":
            points.append([float(value) for value in rest])
        elif kind == "f":
            found[-1].append([int(corner.split("/")[0]) - 1 for corner in rest])
    return [(np.array(points), np.array(triangles)) for triangles in found]


def faces(content: bytes) -> dict[tuple[str, str], tuple[set[tuple[str, str]], int, float]]:
    """Of each object and each way its flat faces look, and of its round ones: corners with their normals, how many
    triangles, and the area of all.

    Which of equally long arms a polygon begins with is a matter of rounding, which differs from processor to processor,
    and with it the order of points and the diagonals that quadrangles are cut along.
    """
    points, normals, name = [""], [""], ""
    found: dict[tuple[str, str], list[list[tuple[str, str]]]] = {}
    for line in content.decode().splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "o":
            name = rest
        elif kind in ("v", "vn"):
            (points if kind == "v" else normals).append(rest)
        elif kind == "f":
            corners = [[int(each or 0) for each in corner.split("/")] for corner in rest.split()]
            ways = {normals[corner[2]] for corner in corners}
            key = (name, ways.pop() if len(ways) == 1 else "round")
            found.setdefault(key, []).append([(points[corner[0]], normals[corner[2]]) for corner in corners])
    made = {}
    for key, triangles in found.items():
        places = np.array([[[float(x) for x in point.split()] for point, _ in each] for each in triangles])
        sides = places[:, 1:] - places[:, :1]
        area = np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1).sum() / 2
        made[key] = ({corner for each in triangles for corner in each}, len(triangles), round(float(area), 7))
    return made


def test_shipped_files_are_what_the_code_makes(made):
    shipped = {path.relative_to(ASSETS).as_posix(): path.read_bytes() for path in ASSETS.rglob("*") if path.is_file()}
    assert sorted(shipped) == sorted(made)
    for path, content in made.items():
        if path.endswith(".png"):
            # Compressors differ from build to build, pictures must not.
            assert np.abs(pixels(content) - pixels(shipped[path])).max() == 0, path
        elif path.endswith(".obj"):
            assert faces(content) == faces(shipped[path]), (
                f"{path}: run python -m vla_bench.envs.calvin.builtin.generate"
            )
        else:
            assert content == shipped[path], f"{path}: run python -m vla_bench.envs.calvin.builtin.generate"


def test_the_bundle_is_small():
    assert sum(path.stat().st_size for path in ASSETS.rglob("*")) < 2_000_000


def test_generator_writes_the_folder_it_is_told(tmp_path, made, monkeypatch, capsys):
    monkeypatch.setattr(generate, "bundle_files", lambda: made)
    mine = tmp_path / "data" / "mine.urdf"
    mine.parent.mkdir()
    mine.write_text("mine")
    generate.main([str(tmp_path)])
    assert str(tmp_path) in capsys.readouterr().out
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {*made, "data/mine.urdf"}
    assert mine.read_text() == "mine"


def test_generator_spares_what_it_did_not_make(tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("")
    with pytest.raises(SystemExit, match="taken is a file"):
        generate.main([str(taken)])
    plane = tmp_path / "official" / "data" / "plane" / "plane.urdf"
    plane.parent.mkdir(parents=True)
    plane.write_text("<robot name='plane'/>")
    with pytest.raises(SystemExit, match="another origin"):
        generate.main([str(tmp_path / "official")])
    with pytest.raises(SystemExit, match="usage"):
        generate.main(["--help"])
    assert plane.read_text() == "<robot name='plane'/>"


def test_every_mesh_and_texture_that_is_named_exists():
    for path in ASSETS.rglob("*.urdf"):
        for mesh in ElementTree.parse(path).getroot().iter("mesh"):
            assert (path.parent / mesh.get("filename")).is_file(), (path, mesh.get("filename"))
    for path in ASSETS.rglob("*.obj"):
        for line in path.read_text().splitlines():
            if line.startswith("mtllib"):
                assert (path.parent / line.split()[1]).is_file()
    for path in ASSETS.rglob("*.mtl"):
        texture = path.read_text().split("map_Kd ")[1].split()[0]
        assert (path.parent / texture).is_file()


@pytest.mark.parametrize("scene", SCENES)
def test_links_are_numbered_as_the_oracle_expects(scene):
    robot = urdf(SCENES[scene].urdf)
    assert robot.find("link").get("name") == "base_link"
    names = [(joint.get("name"), joint.find("child").get("link")) for joint in robot.iter("joint")]
    parts = ("button", "switch", "slide", "drawer", "led", "light", "plank")
    assert names == [(f"base__{part}", f"{part}_link") for part in parts]


@pytest.mark.parametrize("scene", SCENES)
def test_joints_stand_and_move_as_in_the_official_scene(scene):
    robot = urdf(SCENES[scene].urdf)
    origins, upper = {}, {}
    for joint in robot.iter("joint"):
        name = joint.get("name").removeprefix("base__")
        xyz = joint.find("origin").get("xyz").split()
        origins[name] = GLOBAL_SCALING * np.array([float(value) for value in xyz])
        if joint.get("type") == "prismatic":
            assert float(joint.find("limit").get("lower")) == 0
            upper[name] = GLOBAL_SCALING * float(joint.find("limit").get("upper"))
    assert upper == pytest.approx(RANGES[scene])
    assert origins["button"][:2] == pytest.approx(BUTTON[scene])
    assert origins["switch"][0] == pytest.approx(SWITCH_X[scene])
    # The door's handle is 0.14 m right of the joint.
    assert (origins["slide"][0] + 0.14, origins["drawer"][0]) == pytest.approx(HANDLE_X[scene])


@pytest.mark.parametrize("scene", SCENES)
def test_blocks_lie_on_the_plank_behind_the_door(scene):
    robot = urdf(SCENES[scene].urdf)
    joint = next(joint for joint in robot.iter("joint") if joint.get("name") == "base__plank")
    centre = GLOBAL_SCALING * float(joint.find("origin").get("xyz").split()[0])
    for low, high in (SCENES[scene].slider_left, SCENES[scene].slider_right):
        assert centre - 0.26 < low[0] < high[0] < centre + 0.26


def test_blocks_have_official_size_mass_and_friction():
    for name, (size, length) in itertools.product(
        ("red", "blue", "pink"), (("small", 0.04), ("middle", 0.056), ("big", 0.08))
    ):
        link = urdf(f"blocks/block_{name}_{size}.urdf").find("link")
        extents = [float(value) for value in link.find("collision/geometry/box").get("size").split()]
        assert GLOBAL_SCALING * np.array(extents) == pytest.approx((length, 0.04, 0.04))
        assert link.find("inertial/mass").get("value") == "1"
        assert link.find("contact/lateral_friction").get("value") == "0.7"
        assert link.find("contact/spinning_friction").get("value") == "0.001"


def test_block_colours_are_those_the_instructions_name():
    colours = {"red": "1 0 0 1", "blue": "0 0 1 1", "pink": "1 0 1 1"}
    for name, rgba in colours.items():
        material = urdf(f"blocks/block_{name}_big.urdf").find("link/visual/material/color")
        assert material.get("rgba") == rgba


def test_panda_joints_are_in_the_order_pybullet_must_number_them():
    robot = urdf("franka_panda/panda_longer_finger.urdf")
    children: dict[str, list[str]] = {}
    for joint in robot.iter("joint"):
        children.setdefault(joint.find("parent").get("link"), []).append(joint.find("child").get("link"))

    def depth_first(link: str) -> list[str]:
        return [name for child in children.get(link, []) for name in (child, *depth_first(child))]

    numbered = depth_first("panda_link0")
    assert numbered[:9] == [*(f"panda_link{n}" for n in range(1, 9)), "panda_hand"]
    assert numbered[9:] == [
        "panda_leftfinger",
        "finger_left_tip",
        "panda_rightfinger",
        "finger_right_tip",
        "panda_grasptarget",
        "gripper_cam",
        "tcp",
    ]


def test_closed_fingers_meet():
    """At joint 0 a pad's face is within 1 mm of the hand's middle plane, where the other one is too."""
    robot = urdf("franka_panda/panda_longer_finger.urdf")
    mounts = {
        joint.get("name"): [float(value) for value in joint.find("origin").get("xyz").split()]
        for joint in robot.iter("joint")
    }
    (points, _), *_ = objects(ASSETS / "data/franka_panda/meshes/pad_hull.obj")
    gap = mounts["joint_finger_tip_left"][1] - points[:, 0].max()
    assert 0 < gap < 0.0015
    assert mounts["joint_finger_tip_right"][1] == -mounts["joint_finger_tip_left"][1]


def test_collision_parts_are_convex_and_face_outwards():
    paths = sorted(ASSETS.rglob("*hull*.obj"))
    assert len(paths) > 20
    for path in paths:
        for points, triangles in objects(path):
            a, b, c = (points[triangles[:, k]] for k in range(3))
            normals = np.cross(b - a, c - a)
            lengths = np.linalg.norm(normals, axis=1)
            # Slivers that rounding makes have no direction to speak of.
            solid = lengths > 1e-7
            normals = normals[solid] / lengths[solid, None]
            corners = points[np.unique(triangles)]
            heights = corners @ normals.T - np.einsum("ij,ij->i", normals, a[solid])
            assert heights.max() < 2e-4, path
            volume = np.einsum("ij,ij->i", np.cross(a, b), c).sum() / 6
            assert volume > 0, path


def test_textures_repeat_without_negative_coordinates():
    for path in ASSETS.rglob("*.obj"):
        rows = [line.split()[1:] for line in path.read_text().splitlines() if line.startswith("vt ")]
        assert not rows or np.array(rows, float).min() >= 0, path


def test_wood_tiles_without_a_seam(made):
    for path in (path for path in made if path.endswith(".png") and "table" in path):
        image = pixels(made[path]).astype(float)
        inner = np.abs(np.diff(image, axis=1)).mean()
        seam = np.abs(image[:, 0] - image[:, -1]).mean()
        assert seam < 3 * inner + 2, path


def test_one_instruction_for_each_task():
    texts = yaml.safe_load((ASSETS / "annotations/new_playtable_validation.yaml").read_text())
    assert set(texts) == set(TASKS)
    assert all(len(alternatives) == 1 for alternatives in texts.values())
    sentences = [alternatives[0] for alternatives in texts.values()]
    assert len(set(sentences)) == len(sentences)
    for task, (sentence,) in texts.items():
        for colour in ("red", "blue", "pink"):
            assert (colour in task) == (colour in sentence.split()), task


def test_turned_parts_are_closed_and_face_outwards():
    mesh = turned([(0, -1), (1, -1), (1, 1), (0, 1)], "y", segments=64)
    a, b, c = (mesh.points[mesh.triangles[:, k]] for k in range(3))
    volume = np.einsum("ij,ij->i", np.cross(a, b), c).sum() / 6
    assert volume == pytest.approx(2 * np.pi, rel=0.01)
    assert np.ptp(mesh.points[:, 1]) == pytest.approx(2)


def test_prism_follows_its_axis():
    section = np.array([(0, 0), (2, 0), (2, 1), (0, 1)])
    assert prism(section, 5, 6, "z").points.max(axis=0).tolist() == [2, 1, 6]
    assert prism(section, 5, 6, "x").points.max(axis=0).tolist() == [6, 2, 1]
    assert prism(section, 5, 6, "y").points.max(axis=0).tolist() == [1, 6, 2]


def test_faces_between_boxes_are_not_drawn():
    left, right = box_mesh((0, 0, 0), (1, 1, 1)), box_mesh((1, 0, 0), (2, 1, 1))
    shown = exposed(left, [right])
    assert len(left.triangles) - len(shown.triangles) == 2
    assert not (shown.normals[shown.triangles].mean(axis=1) @ (1, 0, 0) > 0.5).any()


def test_grain_runs_along_the_axis_it_is_told():
    mesh = grained(box_mesh((-3, -1, -1), (3, 1, 1)), "x", repeat=2.0)
    top = np.abs(mesh.normals[:, 2]) > 0.9
    assert np.ptp(mesh.texture[top, 0]) == pytest.approx(3)
    assert mesh.texture.min() >= 0
