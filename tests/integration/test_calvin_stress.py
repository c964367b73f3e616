"""The play table under stress: each axis changes what it says and nothing else."""

import numpy as np
import pytest

from vla_bench.bench.families.family import BenchmarkConfig
from vla_bench.bench.setup.config import benchmark_from_plain
from vla_bench.bench.setup.plan import plan
from vla_bench.envs.calvin.renderers.look import Look
from vla_bench.envs.observation import Camera, Sensors
from vla_bench.envs.simulation import environment_spec
from vla_bench.envs.stress.levels import RULES, Stress
from vla_bench.envs.stress.wrapped import make_simulation
from vla_bench.policies.base import PolicySpec

CALVIN = environment_spec("calvin")
SENSORS = Sensors((Camera("static", width=60, height=60), Camera("gripper", width=40, height=40)))
CONFIG: BenchmarkConfig = benchmark_from_plain(
    {"family": "calvin", "assets": "builtin", "sequences": 2, "renderer": "tiny"}
)
PLACES = [[-0.4, -0.13], [-0.38, -0.07], [0.03, -0.14], [-0.3, -0.08], [-0.33, -0.15], [-0.27, -0.15]]
"""x and y of six objects in the second official sequence."""


def look(renderer="tiny", steps=3, **levels):
    """Pictures and state after a few steps that no camera had a say in."""
    policy = PolicySpec("blind", CALVIN.actions[0], SENSORS)
    made = plan(CONFIG, policy, CALVIN, Stress(**levels))
    options = {**made.simulation.options, "renderer": renderer}
    simulation = make_simulation(type(made.simulation)("calvin", options, SENSORS, "relative"))
    try:
        episode = made.protocol.episodes[1]
        simulation.reset(episode.start)
        simulation.begin(episode.subtasks[0])
        actions = np.full((steps, 7), 0.3)
        actions[:, -1] = 1
        simulation.advance(actions)
        seen = simulation.observe()
        return {name: np.array(array) for name, array in seen.items()}, simulation.privileged().digest()
    finally:
        simulation.close()


@pytest.fixture(scope="module")
def plain():
    return {renderer: look(renderer) for renderer in ("tiny", "fast")}


@pytest.mark.parametrize("renderer", ["tiny", "fast"])
@pytest.mark.parametrize(
    "levels",
    [{"camera_turn": 2.0}, {"light_turn": 50.0}, {"light_strength": -0.5}, {"colours": 1.0}, {"textures": "any"}],
    ids=str,
)
def test_what_is_only_seen_changes_pictures_and_no_state(plain, renderer, levels):
    (before, digest), (after, same) = plain[renderer], look(renderer, **levels)
    assert same == digest
    assert not np.array_equal(after["rgb_static"], before["rgb_static"])
    assert all(np.array_equal(after[name], before[name]) for name in ("robot_obs", "scene_obs"))


def described(renderer, *, first, **levels):
    """The reference frame and the first look of an episode, whether it is asked for before or after another."""
    made = plan(CONFIG, PolicySpec("blind", CALVIN.actions[0], SENSORS), CALVIN, Stress(**levels))
    options = {**made.simulation.options, "renderer": renderer}
    simulation = make_simulation(type(made.simulation)("calvin", options, SENSORS, "relative"))
    try:
        if not first:  # as a worker does that tries its policy out
            simulation.reset(made.protocol.episodes[1].start)
            simulation.observe()
        frame = simulation.describe()["renderer_details"]["reference_frame"]
        simulation.reset(made.protocol.episodes[1].start)
        return frame, np.array(simulation.observe()["rgb_static"])
    finally:
        simulation.close()


@pytest.mark.parametrize("renderer", ["tiny", "fast"])
@pytest.mark.parametrize("levels", [{"clutter": 6}, {"light_turn": 50.0, "colours": 1.0, "textures": "any"}], ids=str)
def test_the_reference_frame_is_of_the_renderer_alone_and_leaves_no_trace(renderer, levels):
    plain_frame, plain_picture = described(renderer, first=True)
    (frame, picture), (later_frame, later_picture) = (
        described(renderer, first=first, **levels) for first in (True, False)
    )
    assert frame == later_frame == plain_frame
    assert np.array_equal(picture, later_picture)
    assert not np.array_equal(picture, plain_picture), "what is changed is seen"


@pytest.mark.parametrize("renderer", ["tiny", "fast"])
def test_tints_of_nothing_leave_every_part_as_it_was(plain, renderer):
    assert np.array_equal(look(renderer, colours=1e-12)[0]["rgb_static"], plain[renderer][0]["rgb_static"])


@pytest.mark.parametrize("kind", ["checker", "noise", "stripes", "wood"])
def test_textures_cover_table_and_floor_in_both_renderers_alike(plain, kind):
    seen = {renderer: look(renderer, textures=kind)[0]["rgb_static"].astype(float) for renderer in ("tiny", "fast")}
    changed = {name: np.abs(seen[name] - plain[name][0]["rgb_static"]).sum(2) > 30 for name in seen}
    assert all(each.mean() > 0.5 for each in changed.values()), "the arm, the blocks and the lamps are the rest"
    ways = {name: (seen[name] - plain[name][0]["rgb_static"]).ravel() for name in seen}
    other = (
        look("fast", textures=kind, seed=2)[0]["rgb_static"] - plain["fast"][0]["rgb_static"].astype(float)
    ).ravel()
    alike, unlike = np.corrcoef(ways["tiny"], ways["fast"])[0, 1], np.corrcoef(ways["tiny"], other)[0, 1]
    assert alike > max(0.65, unlike + 0.1)


def test_textures_are_drawn_anew_for_each_episode_and_taken_off_again():
    policy = PolicySpec("blind", CALVIN.actions[0], SENSORS)
    for renderer in ("tiny", "fast"):
        made = plan(CONFIG, policy, CALVIN, Stress(textures="any"))
        simulation = make_simulation(
            type(made.simulation)("calvin", {**made.simulation.options, "renderer": renderer}, SENSORS, "relative")
        )
        try:
            shown = []
            for episode in (*made.protocol.episodes, made.protocol.episodes[0]):
                simulation.reset(episode.start)
                shown.append(np.array(simulation.observe()["rgb_static"]))
            assert np.array_equal(shown[0], shown[2])
            assert not np.array_equal(shown[0], shown[1])
            simulation.renderer.relook(Look())
            bare = np.array(simulation.observe()["rgb_static"])
        finally:
            simulation.close()
        assert np.array_equal(bare, first_look(renderer))


def first_look(renderer):
    made = plan(CONFIG, PolicySpec("blind", CALVIN.actions[0], SENSORS), CALVIN)
    options = {**made.simulation.options, "renderer": renderer}
    simulation = make_simulation(type(made.simulation)("calvin", options, SENSORS, "relative"))
    try:
        simulation.reset(made.protocol.episodes[0].start)
        return np.array(simulation.observe()["rgb_static"])
    finally:
        simulation.close()


def test_clutter_is_seen_and_takes_part_in_nothing(plain):
    before, _ = plain["fast"]
    after, _ = look("fast", clutter=4)
    assert not np.array_equal(after["rgb_static"], before["rgb_static"])
    assert np.allclose(after["robot_obs"], before["robot_obs"], atol=1e-6)
    assert np.allclose(after["scene_obs"], before["scene_obs"], atol=1e-4)


def test_clutter_changes_no_bit_of_the_state_before_something_comes_near(plain):
    """What can move is solved for together; so what nothing comes near to stands fast."""
    _, digest = plain["fast"]
    assert look("fast", clutter=6)[1] == digest


def test_clutter_that_is_run_into_gives_way():
    policy = PolicySpec("blind", CALVIN.actions[0], Sensors())
    config = benchmark_from_plain({"family": "calvin", "assets": "builtin", "sequences": 2})
    simulation = make_simulation(plan(config, policy, CALVIN, Stress(clutter=6)).simulation)
    try:
        simulation.reset(plan(config, policy, CALVIN, Stress(clutter=6)).protocol.episodes[1].start)
        simulation.begin("turn_off_led")
        world = simulation.world
        place = np.array(world.position(world.clutter.bodies[2])) + np.array((0.0, 0.0, 0.01))
        before = [world.position(body) for body in world.clutter.bodies]
        for _ in range(90):
            tool = np.array(simulation.observe()["robot_obs"][:3])
            away = place - tool
            simulation.advance(np.array([[*np.clip(away / 0.02, -1, 1), 0, 0, 0, -1.0]]))
        after = [world.position(body) for body in world.clutter.bodies]
    finally:
        simulation.close()
    moved = [np.linalg.norm(np.subtract(a, b)) for a, b in zip(after, before, strict=True)]
    assert moved[2] > 0.01
    assert min(moved) == 0.0, "others stand where they stood"


def test_clutter_is_placed_by_its_seed_alone():
    first, again, other = (look("fast", clutter=4, seed=seed)[0]["rgb_static"] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_all_clutter_finds_a_place_and_stays_there():
    """Where places differ, the rule has changed: raise its version in RULES, then write them here anew."""
    policy = PolicySpec("blind", CALVIN.actions[0], Sensors())
    config = benchmark_from_plain({"family": "calvin", "assets": "builtin", "sequences": 2})
    made = plan(config, policy, CALVIN, Stress(clutter=6))
    simulation = make_simulation(made.simulation)
    try:
        simulation.reset(made.protocol.episodes[1].start)
        world = simulation.world
        before = np.array([world.position(body) for body in world.clutter.bodies])
        simulation.begin(made.protocol.episodes[1].subtasks[0])
        simulation.advance(np.tile((0.0, 0.0, 0.2, 0.0, 0.0, 0.0, 1.0), (15, 1)))
        after = np.array([world.position(body) for body in world.clutter.bodies])
    finally:
        simulation.close()
    assert (before[:, 2] > 0.44).all(), "one was left out"
    assert np.allclose(before, after, atol=0.003)
    assert RULES["clutter"] == 4
    assert before[:, :2].round(2).tolist() == PLACES


def test_the_body_changes_what_is_done(plain):
    _, digest = plain["tiny"]
    assert look(action_noise=0.2)[1] != digest
    assert look(slow_gripper=3)[1] == digest, "the gripper has been told the same all along"
