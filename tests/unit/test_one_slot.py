"""A plain class as a policy."""

from __future__ import annotations

import numpy as np
import pytest

from vla_bench.envs.fake import ABSOLUTE, RELATIVE
from vla_bench.envs.observation import Camera, Observation, Sensors
from vla_bench.envs.simulation import environment_spec
from vla_bench.policies.answers import as_chunk
from vla_bench.policies.base import Policy, SubtaskContext
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.one_slot import OneSlotPolicy
from vla_bench.policies.registry import _describer

ENVIRONMENT = environment_spec("fake")
CONTEXT = SubtaskContext("seq-0001", 2, seed=99)
SEEN = Observation({"state": np.zeros(4)})


class Plain:
    def reset(self, instruction):
        self.instruction = instruction

    def act(self, observation):
        return np.full(4, float(len(self.instruction)))


def test_ten_lines_are_enough():
    policy = OneSlotPolicy(Plain(), ENVIRONMENT)
    assert isinstance(policy, Policy)
    spec = policy.spec
    assert (spec.name, spec.action, spec.sensors) == ("Plain", RELATIVE, Sensors())
    assert (spec.chunk, spec.execute, spec.stochastic) == (1, 1, False)
    policy.reset(0, "go up", CONTEXT)
    (chunk,) = policy.act([0], [SEEN])
    assert chunk.tolist() == [[5.0] * 4]
    policy.close()


@pytest.mark.parametrize(
    ("method", "own", "said"),
    [
        ("reset", lambda self: None, r"reset\(\) cannot be called as reset\(instruction\); it takes \(\)"),
        ("reset", lambda self, seed: None, r"cannot be called as reset\(instruction\); it takes \(seed\)"),
        ("act", lambda self, seen, goal: None, r"cannot be called as act\(observation\); it takes \(seen, goal\)"),
    ],
)
def test_methods_that_take_something_else_are_refused_before_anything_starts(method, own, said):
    with pytest.raises(PolicyError, match=said):
        OneSlotPolicy(type("Mine", (Plain,), {method: own})(), ENVIRONMENT)


@pytest.mark.parametrize(
    ("method", "own"),
    [
        ("reset", lambda self, instruction, seed, observation: None),
        ("reset", lambda self, *anything, **more: None),
        ("act", lambda self, observation: None),
        ("act", lambda self, seen, goal=None: None),
    ],
)
def test_methods_that_take_more_than_they_must_are_taken(method, own):
    OneSlotPolicy(type("Mine", (Plain,), {method: own})(), ENVIRONMENT)


def test_attributes_say_what_it_needs():
    class Chunky(Plain):
        sensors = ("front", Camera("wrist", depth=True))
        action = "absolute"
        execute = 3
        chunk = 8
        name = "chunky-7b"

        def reset(self, instruction, seed=None):
            self.seed = seed

        def act(self, observation):
            return np.zeros((8, 4), dtype=np.float32)

    plain = Chunky()
    policy = OneSlotPolicy(plain, ENVIRONMENT)
    assert policy.spec.sensors == Sensors((Camera("front"), Camera("wrist", depth=True)))
    assert policy.spec.action == ABSOLUTE
    assert (policy.spec.name, policy.spec.chunk, policy.spec.execute) == ("chunky-7b", 8, 3)
    assert policy.spec.stochastic
    policy.reset(0, "go", CONTEXT)
    assert plain.seed == 99
    assert policy.act([0], [SEEN])[0].dtype == np.float32


def test_attributes_may_be_set_by_the_constructor():
    class Late(Plain):
        def __init__(self):
            self.sensors = Sensors.of("front")
            self.action = ABSOLUTE
            self.execute = 2

    spec = OneSlotPolicy(Late(), ENVIRONMENT).spec
    assert (spec.sensors, spec.action, spec.execute, spec.chunk) == (Sensors.of("front"), ABSOLUTE, 2, 2)


def test_one_camera_may_be_named_alone_and_close_is_passed_on():
    class One(Plain):
        sensors = "front"
        closed = False

        def close(self):
            self.closed = True

    plain = One()
    policy = OneSlotPolicy(plain, ENVIRONMENT)
    assert policy.spec.sensors == Sensors.of("front")
    policy.close()
    assert plain.closed


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"act": None}, "Broken has no method 'act'"),
        ({"action": "absolut"}, "Broken.action is 'absolut', but fake offers.*Did you mean 'absolute'"),
        ({"execute": 0}, "Broken.execute is 0; it must be a whole number from 1"),
        ({"execute": "3"}, "Broken.execute is '3'"),
        ({"sensors": 5}, "Broken.sensors is 5; it must be camera names"),
    ],
)
def test_says_what_is_wrong(attributes: dict[str, object], message: str):
    broken = type("Broken", (Plain,), attributes)
    with pytest.raises(PolicyError, match=message):
        OneSlotPolicy(broken(), ENVIRONMENT)


def test_everyday_names_of_a_class_do_no_harm():
    class Everyday:
        chunk: object = np.zeros((3, 4))
        ended = False

        def __init__(self):
            self.action = np.zeros(4)
            self.close = None
            self.describe = "text"

        def name(self):
            return "mine"

        def execute(self, command):
            return command

        def reset(self, instruction): ...

        def act(self, observation):
            return self.action

    spec = OneSlotPolicy(Everyday(), ENVIRONMENT).spec
    assert (spec.name, spec.action.name, spec.chunk, spec.execute, spec.ends) == ("Everyday", "relative", 1, 1, False)


def test_a_method_called_describe_is_the_classs_own_affair():
    class Talkative:
        def describe(self):
            return "a policy"

    class Aside:
        @classmethod
        def describe(cls):
            return "a policy"

    class Stating:
        @classmethod
        def describe(cls, environment):
            return None

    assert _describer(Talkative) is None and _describer(Aside) is None
    assert _describer(Stating) == Stating.describe


@pytest.mark.parametrize(("position", "new"), [(0, True), (2, False)])
def test_reset_is_told_what_it_takes_by_name(position, new):
    class Told(Plain):
        def reset(self, instruction, *, new_episode, task, position):
            self.told = instruction, new_episode, task, position

    class Everything(Plain):
        def reset(self, instruction, **told):
            self.told = instruction, told

    class Historical(Plain):
        def reset(self, task, new_episode=None):
            self.told = task, new_episode

    context = SubtaskContext("seq-0001", position, seed=99, task="open_drawer")
    told, everything, historical = Told(), Everything(), Historical()
    for plain in (told, everything, historical):
        OneSlotPolicy(plain, ENVIRONMENT).reset(0, "go up", context)
    assert told.told == ("go up", new, "open_drawer", position)
    assert everything.told == (
        "go up",
        {"seed": 99, "task": "open_drawer", "position": position, "new_episode": new},
    )
    assert historical.told == ("go up", new)
    assert not OneSlotPolicy(told, ENVIRONMENT).spec.stochastic


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ((np.zeros(3), np.zeros(3), np.zeros(1)), r"a tuple of parts of different lengths .*\(3, 3, 1\); join them"),
        ((np.zeros(6), 1.0), r"\(6, a number\); join them"),
        ([[1.0, 2.0], [3.0]], r"a list of parts of different lengths .*\(2, 1\)"),
        ({"arm": np.zeros(6), "gripper": 1.0}, r"a dict with 'arm', 'gripper' .*its parts joined"),
        ({"actions": np.zeros(7), "value": 0.5}, r"return the array itself, e\.g\. answer\['actions'\]"),
        ({}, r"a dict with nothing in it from act\(\)\. It must be"),
    ],
)
def test_what_to_return_in_place_of_parts(answer, sentence):
    with pytest.raises(PolicyError, match=sentence):
        as_chunk(answer, "Mine")


def test_what_can_be_stacked_is_taken():
    for answer in ([np.zeros(7), np.ones(7)], ((0.0,) * 7, (1.0,) * 7), [0, 0, 0, 0, 0, 0, 1]):
        assert as_chunk(answer, "Mine").shape[-1] == 7


def test_attributes_that_cannot_be_had_yet_are_not_there():
    class Lazy(Plain):
        @property
        def action(self):
            raise RuntimeError("no action yet")

        @property
        def name(self):
            raise KeyError("name")

        def finished(self):
            return False

    policy = OneSlotPolicy(Lazy(), ENVIRONMENT)
    assert (policy.spec.name, policy.spec.action) == ("Lazy", ENVIRONMENT.actions[0])
    policy.finished(0, None)  # type: ignore[arg-type]  # a method of that name that takes nothing is its own affair


def test_a_long_name_makes_a_folder_all_the_same():
    from vla_bench.bench.setup.preparation import _slug

    name = _slug("fake", "x" * 500, {"a": 1})
    assert len(name) < 120 and name.startswith("fake-xxx") and name != _slug("fake", "x" * 500, {"a": 2})
