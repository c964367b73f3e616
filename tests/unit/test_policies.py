"""Finding, building and checking policies, and those that need no model."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vla_bench.envs.action_spec import ActionSpec
from vla_bench.envs.fake import ABSOLUTE, RELATIVE
from vla_bench.envs.observation import Camera, Observation, Sensors
from vla_bench.envs.simulation import EnvironmentSpec, environment_spec
from vla_bench.policies import registry
from vla_bench.policies.base import Policy, PolicySpec, SubtaskContext
from vla_bench.policies.choice import PolicyChoice
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.hold import holding_action
from vla_bench.policies.registry import checked_spec, describe_policy, find_policy, make_policy

FAKE = environment_spec("fake")
EULER = ActionSpec("euler", 7, "tcp_pose", "world", "euler_xyz")
QUATERNION = ActionSpec("quaternion", 8, "tcp_pose", "world", "quaternion_xyzw")
JOINTS = ActionSpec("joints", 8, "joint_position", "joint", "none")
TABLE = EnvironmentSpec("table", (EULER, QUATERNION, JOINTS), {"static": (200, 200)}, 30.0)
ROBOT_OBS = np.arange(15) / 10


def choice(target: str, **arguments: Any) -> PolicyChoice:
    return PolicyChoice(target, arguments)


def make(target: str, environment: EnvironmentSpec = FAKE, **arguments: Any) -> Policy:
    return make_policy(choice(target, **arguments), environment)


def play(policy: Policy, decisions: int, *, seed: int = 1, episode: str = "e", position: int = 0) -> np.ndarray:
    policy.reset(0, "go", SubtaskContext(episode, position, seed))
    seen = Observation({"state": np.array([0.1, 0.2, 0.3, 1.0]), "robot_obs": ROBOT_OBS})
    return np.concatenate([policy.act([0], [seen])[0] for _ in range(decisions)])


@pytest.fixture
def my_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes ``my_module.py`` into the current directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])

    def write(text: str, name: str = "my_module") -> None:
        (tmp_path / f"{name}.py").write_text(text)
        sys.modules.pop(name, None)

    yield write
    sys.modules.pop("my_module", None)


PLAIN = """
class MyPolicy:
    sensors = ("front",)
    def __init__(self, gain=1.0):
        self.gain = gain
    def reset(self, instruction): pass
    def act(self, observation): return [self.gain] * 4
"""


@pytest.mark.parametrize("target", ["my_module:MyPolicy", "my_module.MyPolicy"])
def test_a_class_beside_the_user_is_found_by_its_path(my_module, target: str):
    my_module(PLAIN)
    assert describe_policy(choice(target), FAKE).sensors == Sensors.of("front")
    assert play(make(target, gain=0.5), 1).tolist() == [[0.5] * 4]


def test_a_class_is_given_the_environment_when_it_asks_for_it(my_module):
    my_module(PLAIN.replace("self, gain=1.0", "self, environment, gain=1.0").replace("= gain", "= environment"))
    assert make("my_module:MyPolicy")._plain.gain is FAKE


@pytest.mark.parametrize(
    ("target", "arguments", "message"),
    [
        ("stubb", {}, "unknown policy 'stubb'; known: stub, random.*Did you mean 'stub'"),
        ("my_modul:MyPolicy", {}, "no module 'my_modul'.*modules are looked for"),
        ("my_module:MyPolcy", {}, "no class 'MyPolcy'.*Did you mean 'MyPolicy'"),
        ("my_module:", {}, "not a class path"),
        ("my_module:MyPolicy", {"gian": 1}, "no argument 'gian'; it takes gain. Did you mean 'gain'"),
        ("my_module:MyPolicy", {"environment": 1}, "'environment' .* is given by the benchmark"),
        ("stub", {"speed": 1}, "no argument 'speed'; it takes action, chunk"),
        ("replay", {}, "'replay' needs the argument 'path'; give it as policy.path="),
        ("my_module:Broken", {}, "could not be built: ZeroDivisionError"),
        ("my_module:NotOne", {}, "NotOne has no method 'reset'"),
        ("my_module:Half", {}, r"has a spec, but no method reset\(\)"),
        ("my_module:Whole", {"ends": True}, r"no method ended\(\), which ends=True in its spec asks for"),
        ("my_module:Whole", {"privileged": True}, r"no method see\(\), which privileged=True in its spec asks for"),
        ("hasty:X", {}, "'hasty:X' cannot be imported: NameError"),
        ("needy:X", {}, "needs the package 'no_such_package', which is not installed"),
        ("my_module:Top", {}, "asks for the camera 'top', but fake has front, wrist"),
    ],
)
def test_says_what_is_wrong_with_a_choice(my_module, target: str, arguments: dict[str, Any], message: str):
    my_module("x = nonsense", "hasty")
    my_module("import no_such_package", "needy")
    my_module(
        PLAIN
        + "class Broken:\n    def __init__(self): 1 / 0\n"
        + "class NotOne: pass\n"
        + "class Top(MyPolicy): sensors = ('top',)\n"
        + "from vla_bench.policies.base import PolicySpec\nfrom vla_bench.envs.fake import RELATIVE\n"
        + "class Half: spec = PolicySpec('half', RELATIVE)\n"
        + "class Whole:\n"
        + "    def __init__(self, **asked): self.spec = PolicySpec('whole', RELATIVE, **asked)\n"
        + "    def reset(self, slot, instruction, context): pass\n"
        + "    def act(self, slots, observations): return [self.gain]\n"
        + "    def close(self): pass\n"
    )
    for use in (describe_policy, make_policy):
        with pytest.raises(PolicyError, match=message):
            use(choice(target, **arguments), FAKE)


def test_a_description_does_not_build_what_can_describe_itself(my_module):
    my_module(
        "from vla_bench.policies.base import PolicySpec\n"
        "from vla_bench.envs.fake import RELATIVE\n"
        "class MyPolicy:\n"
        "    def __init__(self, environment, size): raise AssertionError('built')\n"
        "    @classmethod\n"
        "    def describe(cls, environment, size): return PolicySpec(f'p{size}', RELATIVE)\n"
    )
    assert describe_policy(choice("my_module:MyPolicy", size=3), FAKE).name == "p3"


def test_an_installed_package_may_name_policies(monkeypatch: pytest.MonkeyPatch):
    class Point:
        name, value = "theirs", "vla_bench.policies.stub:StubPolicy"

    monkeypatch.setattr(
        registry.importlib.metadata,
        "entry_points",
        lambda group: [Point] if group == registry.ENTRY_POINTS else [],
    )
    assert find_policy("theirs").__name__ == "StubPolicy"
    with pytest.raises(PolicyError, match="Did you mean 'theirs'"):
        find_policy("their")


def test_another_convention_is_refused_with_the_difference():
    theirs = dataclasses.replace(RELATIVE, name="theirs", position_scale=0.02)
    with pytest.raises(PolicyError, match=r"nearest, 'relative', differs in position_scale: 0.05 against 0.02"):
        checked_spec(PolicySpec("p", theirs), FAKE)
    renamed = dataclasses.replace(ABSOLUTE, name="mine")
    assert checked_spec(PolicySpec("p", renamed), FAKE).action.name == "absolute"
    with pytest.raises(PolicyError, match="predicts 2 actions and wants 3 executed"):
        checked_spec(PolicySpec("p", RELATIVE, chunk=2, execute=3), FAKE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": None}, "its name is None; a word is wanted"),
        ({"action": "relative"}, r"its action is 'relative'; an envs\.ActionSpec is wanted"),
        ({"sensors": ("front",)}, r"its sensors is \('front',\); an envs\.Sensors is wanted"),
        ({"sensors": Sensors((Camera("front", width=0),))}, "camera 'front' is 0 pixels wide or high"),
        ({"sensors": Sensors((Camera("front", height="9"),))}, "camera 'front' is '9' pixels wide or high"),
        ({"chunk": "4"}, "its chunk is '4'; a whole number from 1 to 10000 is wanted"),
        ({"chunk": 10**9}, "its chunk is 1000000000; a whole number"),
        ({"execute": 0}, "its execute is 0; a whole number"),
        ({"switches": {"compat": 3}}, "a mapping of words to words is wanted"),
    ],
)
def test_a_spec_with_a_field_that_cannot_be_is_refused(changes: dict[str, Any], message: str):
    with pytest.raises(PolicyError, match=message):
        checked_spec(PolicySpec(**{"name": "p", "action": RELATIVE, **changes}), FAKE)


def test_what_is_no_policy_at_all_is_said_to_be_none(my_module):
    my_module(
        "import sys\n"
        "from vla_bench.policies.base import PolicySpec\n"
        "class Leaves:\n"
        "    def __init__(self): sys.exit('usage: ...')\n"
        "class Nothing:\n"
        "    @classmethod\n"
        "    def describe(cls, environment): return None\n"
        "class Blind:\n"
        "    def __init__(self, environment):\n"
        "        self.spec = PolicySpec('p', environment.actions[0], privileged=True)\n"
        "    def reset(self, slot, instruction, context): ...\n"
        "    def act(self, slots, observations): ...\n"
        "    def close(self): ...\n"
        "class Stays:\n"
        "    def reset(self, instruction): ...\n"
        "    def act(self, observation): ...\n"
        "    def close(self): raise OSError('busy')\n"
    )
    for name, message in (
        ("Leaves", r"could not be built: SystemExit: usage: \.\.\."),
        ("Nothing", r"describes itself by a policies\.PolicySpec, not by None"),
        ("Blind", r"no method see\(\)"),
        ("Stays", "could not be closed: OSError: busy"),
    ):
        with pytest.raises(PolicyError, match=message):
            describe_policy(choice(f"my_module:{name}"), FAKE)
    with pytest.raises(PolicyError, match=r"'builtins\.dict' is no policy"):
        describe_policy(choice("builtins.dict"), FAKE)
    assert describe_policy(choice("stub", cameras="front"), FAKE).sensors == Sensors.of("front")


def test_the_stub_commands_no_motion():
    policy = make("stub", chunk=3)
    assert policy.spec == describe_policy(choice("stub", chunk=3), FAKE)
    assert policy.spec.sensors == Sensors() and policy.spec.execute == 3
    assert play(policy, 2).tolist() == [[0, 0, 0, 1]] * 6


def test_the_stub_stays_where_the_subtask_began():
    policy = make("stub", action="absolute")
    assert play(policy, 1).tolist() == [[0.1, 0.2, 0.3, 1.0]]
    moved = Observation({"state": np.array([0.9, 0.9, 0.9, 1.0])})
    assert policy.act([0], [moved])[0].tolist() == [[0.1, 0.2, 0.3, 1.0]]
    policy.reset(0, "go", SubtaskContext("e", 1, 0))
    assert policy.act([0], [moved])[0].tolist() == [[0.9, 0.9, 0.9, 1.0]]


def test_holding_still_in_the_conventions_of_a_robot_arm():
    seen = Observation({"robot_obs": ROBOT_OBS})
    np.testing.assert_array_equal(holding_action(EULER, seen), [*ROBOT_OBS[:6], 1])
    np.testing.assert_array_equal(holding_action(JOINTS, seen), [*ROBOT_OBS[7:14], 1])
    from scipy.spatial.transform import Rotation

    quaternion = Rotation.from_euler("xyz", ROBOT_OBS[3:6]).as_quat()
    np.testing.assert_allclose(holding_action(QUATERNION, seen), [*ROBOT_OBS[:3], *quaternion, 1])
    with pytest.raises(PolicyError, match="cannot hold still without the state vector 'robot_obs'"):
        holding_action(EULER, Observation({"state": np.zeros(4)}))
    turned = holding_action(dataclasses.replace(EULER, rotation="axis_angle"), seen)
    rotvec = Rotation.from_euler("xyz", ROBOT_OBS[3:6]).as_rotvec()
    np.testing.assert_allclose(turned, [*ROBOT_OBS[:3], *rotvec, 1])
    with pytest.raises(PolicyError, match=r"'odd' \(tcp_pose, none\)"):
        holding_action(dataclasses.replace(EULER, name="odd", rotation="none"), seen)


def test_the_random_walk_follows_its_seed_and_is_smooth():
    walk = play(make("random"), 2000, seed=5)
    np.testing.assert_array_equal(walk, play(make("random", chunk=4), 500, seed=5))
    assert not np.array_equal(walk, play(make("random"), 2000, seed=6))
    assert walk.shape == (2000, 4) and np.abs(walk).max() <= 1
    assert np.abs(np.diff(walk[:, :3], axis=0)).mean() < 0.5 * np.abs(walk[:, :3]).mean()
    assert set(walk[:, 3]) == {-1.0, 1.0}
    assert 20 < np.count_nonzero(np.diff(walk[:, 3])) < 140
    assert make("random").spec.stochastic


@pytest.mark.parametrize("action", ["euler", "quaternion", "joints"])
def test_the_random_walk_in_poses_starts_where_the_robot_is(action: str):
    policy = make("random", TABLE, action=action)
    still = holding_action(TABLE.action(action), Observation({"robot_obs": ROBOT_OBS}))
    walk = play(policy, 300)
    assert np.abs(walk[0, :-1] - still[:-1]).max() <= 0.01
    assert np.abs(np.diff(walk[:, :-1], axis=0)).max() <= 0.0101
    assert np.ptp(walk[:, 0]) > 0.01
    if action == "quaternion":
        np.testing.assert_array_equal(walk[:, 3:7], np.tile(still[3:7], (300, 1)))


RECORDED = np.linspace(-1, 1, 12).reshape(3, 4)


@pytest.fixture
def recording(tmp_path: Path):
    def write(name: str, content: Any) -> str:
        path = tmp_path / name
        if path.suffix == ".npz":
            np.savez(path, **content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    return write


def test_replay_plays_one_array_for_all_and_then_holds_still(recording):
    path = recording("a.npz", {"actions": RECORDED.astype(np.float32)})
    played = play(make("replay", path=path), 5, episode="any", position=3)
    assert played.dtype == np.float32
    np.testing.assert_array_equal(played[:3], RECORDED.astype(np.float32))
    np.testing.assert_array_equal(played[3:], [[0, 0, 0, 1]] * 2)
    np.testing.assert_array_equal(played[:4], play(make("replay", path=path, chunk=2), 2))
    absolute = play(make("replay", path=path, action="absolute"), 5)
    np.testing.assert_array_equal(absolute[3:], [RECORDED[-1].astype(np.float32)] * 2)


def test_replay_keeps_subtasks_of_episodes_apart(recording):
    nested = recording("a.json", {"seq-0001": [RECORDED.tolist(), (-RECORDED).tolist()]})
    flat = recording("a.npz", {"seq-0001/0": RECORDED, "seq-0001/1": -RECORDED})
    for path in (nested, flat):
        policy = make("replay", path=path)
        for position, sign in ((1, -1), (0, 1)):
            played = play(policy, 3, episode="seq-0001", position=position)
            np.testing.assert_array_equal(played, sign * RECORDED)
        with pytest.raises(PolicyError, match=r"no recording 'seq-0001/2' and none for all.*it has 2"):
            play(policy, 1, episode="seq-0001", position=2)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npz", {"actions": np.zeros((3, 7))}, r"'actions' has shape \(3, 7\); needed is \(n, 4\)"),
        ("a.npz", {"actions": np.zeros((0, 4))}, r"shape \(0, 4\)"),
        ("a.npz", {}, "holds no recording"),
        ("a.npz", {"e/0": np.array(["x"])}, "not a rectangular array of numbers"),
        ("a.json", [[0.0] * 4, [0.0] * 3], "not a rectangular array of numbers"),
        ("a.json", "not json", "cannot be read"),
        ("a.json", "3", "a list of actions or an object"),
        ("a.csv", "1,2", "must end in .npz or .json"),
    ],
)
def test_replay_says_what_is_wrong_with_a_file(recording, name: str, content: Any, message: str):
    with pytest.raises(PolicyError, match=message):
        make("replay", path=recording(name, content))


def test_replay_says_that_there_is_no_file(tmp_path: Path):
    with pytest.raises(PolicyError, match=r"no recording '.*none\.npz' to replay"):
        describe_policy(choice("replay", path=str(tmp_path / "none.npz")), FAKE)


def test_an_expert_lapses_as_often_as_told():
    environment = environment_spec("calvin")
    expert = make_policy(PolicyChoice("expert", {"lapse": 0.3}), environment)
    lapses = 0
    for number in range(400):
        expert.reset(0, "open the drawer", SubtaskContext("seq-0000", 0, number))
        lapses += expert._slots[0].lapses
    assert 90 <= lapses <= 150
    with pytest.raises(PolicyError, match=r"lapse is a share between 0 and 1, got 2"):
        describe_policy(PolicyChoice("expert", {"lapse": 2}), environment)


def test_the_expert_is_the_environments_own():
    bringing = dataclasses.replace(TABLE, expert="vla_bench.policies.stub:StubPolicy")
    assert find_policy("expert", bringing).__name__ == "StubPolicy"
    with pytest.raises(PolicyError, match="table brings no expert"):
        describe_policy(PolicyChoice("expert"), TABLE)
