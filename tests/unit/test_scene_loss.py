"""The loss that teaches the eyes: where blocks are in a picture, and frames that are only looked at."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vla_bench.envs.calvin.bundle import find_bundle
from vla_bench.envs.calvin.cameras import seen_places
from vla_bench.envs.calvin.initial_states import initial_state
from vla_bench.envs.calvin.sequences import official_sequences
from vla_bench.envs.calvin.simulation import CalvinSimulation
from vla_bench.envs.observation import Camera, Sensors
from vla_bench.policies.vla.training.scene import bilinear, pointing_loss


@pytest.fixture(scope="module")
def simulation():
    sensors = Sensors((Camera("static", height=100, width=100), Camera("gripper", height=42, width=42)))
    made = CalvinSimulation(find_bundle("builtin"), sensors, renderer="fast")
    yield made
    made.close()


def test_places_are_where_the_cameras_matrices_say(simulation):
    start = next(each for each in official_sequences() if each.condition.red_block == "table")
    simulation.reset(initial_state(start.condition))
    simulation.begin("open_drawer")
    simulation.advance(np.tile((0.5, -0.3, -0.4, 0.2, -0.3, 0.6, 1.0), (6, 1)))
    simulation.advance(np.tile((0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0), (20, 1)))  # the gripper's picture is a substep old
    observation, state = simulation.observe(), simulation.privileged()
    points = np.array([list(state.block_positions.values())])
    for camera, side in (("static", 100), ("gripper", 42)):
        places, inside = seen_places(camera, side, points, np.array(state.robot_obs)[None, :6])
        for point, place, there in zip(points[0], places[0], inside[0], strict=True):
            seen = observation[f"extrinsics_{camera}"] @ (*point, 1.0)
            u, v, w = observation[f"intrinsics_{camera}"] @ seen[:3]
            assert there == (w > 0.01 and 0 <= u / w < side and 0 <= v / w < side)
            if there:
                np.testing.assert_allclose(place, (u / w, v / w), atol=0.02)
    assert seen_places("static", 100, points, np.zeros((1, 6)))[1].all()


def test_a_cell_is_shared_among_its_neighbours():
    weights = bilinear(np.array([[[1.25, 0.5], [-3.0, 9.0]]]), 4).reshape(2, 4, 4)
    np.testing.assert_allclose(weights[0, :2, 1:3], [[0.375, 0.125], [0.375, 0.125]])
    assert weights[1, 3, 0] == 1 and np.allclose(weights.sum((1, 2)), 1)


def test_maps_that_point_at_the_blocks_lose_least():
    scene = torch.zeros(1, 24)
    scene[0, 6:9] = torch.tensor((0.1, -0.1, 0.46))
    scene[0, 12:15] = torch.tensor((-0.1, -0.1, 0.46))
    scene[0, 18:21] = torch.tensor((0.1, 0.0, 9.0))  # not in the picture
    tool = torch.tensor([[0.0, -0.1, 0.6, 3.14, 0.0, 1.57]])
    places, inside = seen_places("static", 100, scene[:, 6:].reshape(1, 3, 6)[..., :3].double().numpy(), tool.numpy())
    assert inside.tolist() == [[True, True, False]]
    right = torch.from_numpy(bilinear(places * 0.25 - 0.5, 25)).clamp(min=1e-9).log().reshape(1, 3, 25, 25)
    least = float(pointing_loss(right, "static", 100, scene, tool))
    flat = float(pointing_loss(torch.zeros_like(right), "static", 100, scene, tool))
    swapped = float(pointing_loss(right[:, [1, 0, 2]], "static", 100, scene, tool))
    assert flat == pytest.approx(np.log(625))
    assert least < 1.4 < flat < swapped
    other = right.clone()
    other[:, 2] = torch.randn(25, 25)
    assert float(pointing_loss(other, "static", 100, scene, tool)) == pytest.approx(least)
