"""Camera matrices: points that are known are found in the picture where the matrices say."""

from __future__ import annotations

import numpy as np
import pytest

from vla_bench.envs.calvin.bundle import find_bundle
from vla_bench.envs.calvin.cameras import STATIC_EYE, STATIC_TARGET, STATIC_UP
from vla_bench.envs.calvin.initial_states import initial_state
from vla_bench.envs.calvin.sequences import official_sequences
from vla_bench.envs.calvin.simulation import CalvinSimulation
from vla_bench.envs.observation import Camera, Sensors

SENSORS = Sensors(
    (
        Camera("static", depth=True, height=600, width=900),
        Camera("gripper", depth=True, height=300, width=200),
    )
)


@pytest.fixture(scope="module")
def simulation():
    made = CalvinSimulation(find_bundle("builtin"), SENSORS, renderer="tiny")
    yield made
    made.close()


@pytest.fixture
def over_red(simulation):
    """The hand above the red block, still moving: both cameras see the block."""
    start = next(each for each in official_sequences() if each.condition.red_block == "table")
    simulation.reset(initial_state(start.condition))
    simulation.begin("open_drawer")
    block = simulation.privileged().block_positions["block_red"]
    for _ in range(40):
        away = block + np.array((0.0, -0.05, 0.16)) - simulation.world.robot.target_position
        move = np.clip(away / 0.02, -1, 1)
        simulation.advance(np.array([[*move, 0.0, 0.0, 0.0, 1.0]]))
    return simulation


def project(observation, camera, point):
    """Pixels (u, v) and metres along the axis of a point in the world."""
    seen = observation[f"extrinsics_{camera}"] @ (*point, 1.0)
    u, v, w = observation[f"intrinsics_{camera}"] @ seen[:3]
    return u / w, v / w, seen[2]


def unproject(observation, camera, rows, columns):
    """Points (n, 3) in the world of the centres of pixels, by the depth image."""
    depth = observation[f"depth_{camera}"][rows, columns].astype(float)
    pixels = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))])
    seen = np.linalg.inv(observation[f"intrinsics_{camera}"]) @ pixels * depth
    return (np.linalg.inv(observation[f"extrinsics_{camera}"]) @ np.vstack([seen, np.ones(len(rows))]))[:3].T


def test_the_static_camera_stands_where_the_published_configuration_says(over_red):
    observation = over_red.observe()
    u, v, distance = project(observation, "static", STATIC_TARGET)
    assert (u, v) == pytest.approx((450, 300), abs=1e-3)
    assert distance == pytest.approx(np.linalg.norm(np.subtract(STATIC_EYE, STATIC_TARGET)), abs=1e-5)
    _, higher, _ = project(observation, "static", np.add(STATIC_TARGET, np.multiply(STATIC_UP, 0.1)))
    assert higher < v - 10
    pose = np.linalg.inv(observation["extrinsics_static"])
    assert pose[:3, 3] == pytest.approx(STATIC_EYE, abs=1e-5)
    focal = 300 / np.tan(np.radians(5))
    assert observation["intrinsics_static"] == pytest.approx(np.array([[focal, 0, 450], [0, focal, 300], [0, 0, 1]]))


@pytest.mark.parametrize("camera", ["static", "gripper"])
def test_a_block_is_where_the_matrices_say(over_red, camera):
    observation = over_red.observe()
    state = over_red.privileged()
    centre = state.block_positions["block_red"]
    turn = observation[f"extrinsics_{camera}"][:3, :3]
    assert turn @ turn.T == pytest.approx(np.eye(3), abs=1e-6)
    assert np.linalg.det(turn) == pytest.approx(1)
    red, green, blue = np.moveaxis(observation[f"rgb_{camera}"].astype(int), 2, 0)
    rows, columns = np.nonzero((red > 2 * green) & (red > 2 * blue) & (red > 60))
    points = unproject(observation, camera, rows, columns)
    of_block = np.linalg.norm(points - centre, axis=1) < 0.06
    assert of_block.sum() > 200
    # In the block's own axes every point of its surface lies on its box, 28 x 20 x 20 mm to each side.
    x, y, z, w = state.block_quaternions["block_red"]
    axes = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    own = np.abs((points[of_block] - centre) @ axes) - (0.028, 0.02, 0.02)
    assert np.percentile(np.abs(own.max(axis=1)), 95) < 0.0015
    # The centre of its upper face is seen where it is projected to.
    u, v, distance = project(observation, camera, centre + np.array((0.0, 0.0, 0.02)))
    assert observation[f"depth_{camera}"][int(v), int(u)] == pytest.approx(distance, abs=0.002)


def test_the_gripper_camera_moves_with_the_hand_and_no_camera_is_shown_unasked(over_red):
    before = over_red.observe()
    over_red.advance(np.array([[0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]] * 4))
    after = over_red.observe()
    rise = (np.linalg.inv(after["extrinsics_gripper"]) - np.linalg.inv(before["extrinsics_gripper"]))[:3, 3]
    moved = after["robot_obs"][:3] - before["robot_obs"][:3]
    assert moved[2] > 0.01
    assert rise == pytest.approx(moved, abs=0.01)
    assert (after["extrinsics_static"] == before["extrinsics_static"]).all()
    blind = CalvinSimulation(find_bundle("builtin"))
    blind.reset(initial_state(official_sequences()[0].condition))
    assert set(blind.observe()) == {"robot_obs", "scene_obs"}
    blind.close()
