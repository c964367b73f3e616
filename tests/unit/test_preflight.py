"""The trial of one step, and the eye kept on observations; on the toy environment, in this process."""

import re
from dataclasses import replace

import numpy as np
import pytest

from vla_bench.bench.episode.preflight import TryOut, _far_out, _half_open, try_out
from vla_bench.bench.episode.rollout import run_episode
from vla_bench.bench.episode.watch import Watch, is_plain
from vla_bench.bench.protocol import EpisodeSpec
from vla_bench.envs.errors import EnvironmentFault, RendererError
from vla_bench.envs.fake import RELATIVE, environment_spec
from vla_bench.envs.observation import Observation, Sensors
from vla_bench.envs.simpler.family import environment_spec as simpler_environment
from vla_bench.envs.simulation import EpisodeStart, SimulationSpec, make_simulation
from vla_bench.policies.base import PolicySpec
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.one_slot import OneSlotPolicy

EPISODE = EpisodeSpec(0, "seq-0000", EpisodeStart("box"), ("reach_red",), ("go",), step_limit=10)


class Good:
    sensors = ("front", "wrist")

    def reset(self, instruction):
        self.seen = 0

    def act(self, observation):
        self.seen += 1
        return np.array([0.1, 0.0, 0.0, 1.0])


def parts(policy=Good, **cue):
    options = {"cues": [cue]} if cue else {}
    simulation = make_simulation(SimulationSpec("fake", options, Sensors.of("front", "wrist")))
    return simulation, OneSlotPolicy(policy(), environment_spec({}))


def test_a_trial_leaves_nothing_behind():
    simulation, policy = parts()
    fresh = run_episode(*parts(), EPISODE, seed=0).outcome()
    assert try_out(simulation, policy, EPISODE, 0) == TryOut()
    assert run_episode(simulation, policy, EPISODE, seed=0).outcome() == fresh


def lying(**changes):
    return type("Lying", (Good,), changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"act": lambda self, seen: np.zeros(3)}, r"shape \(1, 3\).*4 numbers per action"),
        ({"act": lambda self, seen: np.full(4, np.inf)}, "must be finite"),
        ({"act": lambda self, seen: np.zeros(4, bool)}, "float32 or float64"),
        ({"act": lambda self, seen: "left"}, "returned the text 'left'"),
        ({"act": lambda self, seen: None}, "returned None"),
        (
            {"act": lambda self, seen: {}["x"]},
            r"first act\(\): KeyError: 'x' \(test_preflight.py, line \d+\)",
        ),
        ({"reset": lambda self, text: 1 / 0}, r"first reset\(\): ZeroDivisionError"),
        ({"act": lambda self, seen: seen["rgb_gripper"]}, "has no 'rgb_gripper'; it has rgb_front"),
    ],
)
def test_a_policy_that_cannot_work_is_told_at_once(changes, message):
    with pytest.raises(PolicyError, match=message):
        try_out(*parts(lying(**changes)), EPISODE, 0)


@pytest.mark.parametrize(
    ("action", "number", "remarked"),
    [
        ("bridge", 0.4, ""),
        ("bridge", 5.0, "takes it for a change of 5 m in one step"),
        ("bridge_pose", 0.9, ""),
        ("bridge_pose", -640.0, "takes it for a place -640 m away"),
    ],
)
def test_metres_that_no_arm_goes_are_remarked_on(action, number, remarked):
    environment = simpler_environment({"set": "bridge"})
    spec = PolicySpec("far", environment.action(action))
    said = _far_out(spec, np.array([[0.0, number, 0.0, 9.0, 0.0, 0.0, 1.0]]))
    assert bool(said) == bool(remarked) and remarked in said


@pytest.mark.parametrize(("number", "remarked"), [(1.5, False), (-40.0, True), (1e30, True)])
def test_actions_far_out_of_range_are_remarked_on(number, remarked):
    policy = lying(act=lambda self, seen: np.array([0.0, number, 0.0, 7.0]))
    said = try_out(*parts(policy), EPISODE, 0).remark
    assert (f"begins with {number:g} as number 1" in said and "is clipped" in said) == remarked
    assert bool(said) == remarked


@pytest.mark.parametrize(("command", "remarked"), [(0.3, True), (1.0, False), (0.0, False), (-0.3, False)])
def test_a_gripper_that_will_never_close_is_remarked_on(command, remarked):
    policy = lying(act=lambda self, seen: np.array([0.0, 0.0, 0.0, command]))
    said = try_out(*parts(policy), EPISODE, 0).remark
    assert ("never close" in said) == bool(said) == remarked


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bounded": False}, "opens above 0 and closes below, .* never close more than half"),
        ({"bounded": False, "gripper": "relative"}, r"never close\. "),
        ({"gripper_open": -1.0, "gripper_closed": 1.0}, r"closes above 0 and opens below, .* never open\. "),
        ({"bounded": False, "exact_gripper": True}, None),
        ({"gripper_closed": 0.0}, None),
    ],
)
def test_the_remark_on_the_gripper_fits_the_convention_of_any_policy(changes, said):
    spec = PolicySpec("Full", replace(RELATIVE, **changes))
    found = _half_open(spec, np.array([[0.0, 0.0, 0.0, 0.3]]))
    assert re.search(said, found) if said else found == ""


def test_a_policy_that_draws_without_the_seed_is_found_out():
    drawing = lying(act=lambda self, seen: np.append(np.random.default_rng().uniform(size=3), 1.0))
    trial = try_out(*parts(drawing), EPISODE, 0)
    assert not trial.repeatable and "reset(instruction, seed)" in trial.remark
    once = np.random.default_rng(0)  # seeded, but going on from one reset to the next
    assert not try_out(*parts(lying(act=lambda self, seen: once.normal(size=4))), EPISODE, 0).repeatable

    def reset(self, instruction, seed):
        self.drawn = np.random.default_rng(seed)

    seeded = lying(reset=reset, act=lambda self, seen: self.drawn.normal(size=4))
    assert try_out(*parts(seeded), EPISODE, 0).repeatable


def test_a_policy_that_writes_into_its_picture_is_shown_the_same_again():
    def act(self, seen):
        mean = seen["rgb_front"].mean() / 255
        seen["rgb_front"][:] = 0
        return np.array([mean, 0.0, 0.0, 1.0])

    assert try_out(*parts(lying(act=act)), EPISODE, 0).repeatable


def test_a_mistake_later_in_a_run_says_where():
    def act(self, seen):
        self.seen += 1
        return None if self.seen == 4 else np.array([0.1, 0.0, 0.0, 1.0])

    with pytest.raises(PolicyError, match="returned None") as caught:
        run_episode(*parts(lying(act=act)), EPISODE, seed=0)
    assert caught.value.__notes__ == ["at step 3 of 'reach_red', subtask 1 of seq-0000"]


def test_a_renderer_that_shows_nothing_is_told_at_once():
    with pytest.raises(RendererError, match=r"camera 'front' shows one plain colour, \[0, 0, 0\].*doctor"):
        try_out(*parts(do="blank", when="observe"), EPISODE, 0)
    with pytest.raises(EnvironmentFault, match="'state' holds numbers that are not finite"):
        try_out(*parts(do="garble", when="observe"), EPISODE, 0)


@pytest.mark.parametrize(("cue", "message"), [("blank", "renderer seems to have died"), ("garble", "'state'")])
def test_garbage_in_mid_episode_is_an_error_and_no_failure(cue, message):
    simulation, policy = parts(do=cue, when="observe", step=4)
    with pytest.raises(RuntimeError, match=message):
        run_episode(simulation, policy, EPISODE, seed=0)


def test_one_camera_against_a_wall_is_no_garbage():
    picture = np.zeros((32, 32, 3), dtype=np.uint8)
    other = picture.copy()
    other[5, 7, 1] = 1
    assert is_plain(picture) and not is_plain(other)
    Watch(Sensors.of("front", "wrist")).check(Observation({"rgb_front": picture, "rgb_wrist": other}))


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("one\n two\nthree"), r"ValueError: one two three \(test_preflight\.py, line \d+\)$"),
        (AssertionError(), r"AssertionError \(test_preflight\.py, line \d+\)$"),
        (StopIteration(), r"StopIteration \(test_preflight\.py, line \d+\)$"),
    ],
)
def test_what_a_policy_raises_is_one_line_with_its_place(error, sentence):
    class Raising(Good):
        def act(self, observation):
            raise error

    with pytest.raises(PolicyError, match=sentence):
        try_out(*parts(Raising), EPISODE, 0)
