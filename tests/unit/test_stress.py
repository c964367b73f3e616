"""Levels of stress: each changes what it says and nothing else."""

import dataclasses
import itertools
import re
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from vla_bench.bench.episode.rollout import OBSERVATION_AGE, run_episode
from vla_bench.bench.errors import ConfigError, UserError
from vla_bench.bench.setup.config import build, config_from_plain, config_to_plain
from vla_bench.bench.setup.plan import plan
from vla_bench.bench.setup.presets import FOLDER, load_config, presets
from vla_bench.bench.stress import words
from vla_bench.bench.stress.planning import described, facts_of
from vla_bench.envs.calvin.paraphrases import paraphrases
from vla_bench.envs.calvin.tasks import TASKS
from vla_bench.envs.observation import Observation, Sensors
from vla_bench.envs.simulation import EnvironmentSpec, Outcome, environment_spec
from vla_bench.envs.stress.body import Body
from vla_bench.envs.stress.image import Pictures, changed_picture, coarser
from vla_bench.envs.stress.levels import AXES, RULES, Stress, changed, episode_seed
from vla_bench.envs.stress.wrapped import Clock, StressedSimulation, make_simulation, steps_of, to_option
from vla_bench.policies.base import PolicySpec

FAKE = environment_spec("fake")
DELTA = FAKE.actions[0]
CALVIN = {each.name: each for each in environment_spec("calvin").actions}


ZERO, BLIND = Stress(), Sensors()
NOISY = [[-0.108456, 0.237775], [0.110865, 0.326735]]
LOST_OR_REPEATED = [0, 0, 3, 0, 5, 5, 7, 8, 9, 10, 10, 12]
GRAINY = [[174, 94, 163], [74, 105, 159]]


def fake_plan(stress=ZERO, *, sensors=BLIND, execute=1, **benchmark):
    config = config_from_plain({"benchmark": {"family": "fake", "sequences": 6, **benchmark}})
    return plan(config.benchmark, PolicySpec("walker", DELTA, sensors, 10, execute), FAKE, stress)


class Walker:
    """Commands the number of its decision, and remembers what it saw."""

    def __init__(self, spec):
        self.spec = spec
        self.seen, self.told, self.asked = [], [], 0

    def reset(self, slot, instruction, context):
        self.told.append(instruction)

    def act(self, slots, observations):
        self.seen += [{name: np.array(array) for name, array in each.items()} for each in observations]
        self.asked += 1
        chunk = np.zeros((self.spec.chunk, self.spec.action.size))
        chunk[:, 0] = self.asked / 1000 + np.arange(self.spec.chunk) / 100000
        chunk[:, -1] = self.spec.action.gripper_open
        return [chunk]

    def close(self):
        pass


class Spy:
    """Remembers what is executed."""

    def __init__(self):
        self.actions = []

    def executed(self, position, actions, observation):
        self.actions += [np.array(action) for action in actions]


def play(stress=ZERO, execute=1, sensors=BLIND, seconds=None, episode=0):
    made = fake_plan(stress, execute=execute, sensors=sensors, step_limit=40)
    policy = Walker(PolicySpec("walker", DELTA, sensors, 10, execute))
    simulation, spy = make_simulation(made.simulation), Spy()
    clock = {} if seconds is None else {"clock": iter(np.arange(0, 1e5, seconds)).__next__}
    record = run_episode(simulation, policy, made.protocol.episodes[episode], seed=0, recorder=spy, **clock)
    return record, policy, np.array(spy.actions)


def test_levels_of_zero_change_neither_plan_nor_hash():
    plain, zero = fake_plan(), fake_plan(Stress(seed=7, meanwhile="hold"))
    assert zero == plain
    assert zero.protocol.hash == plain.protocol.hash
    assert "stress" not in plain.protocol.facts


@pytest.mark.parametrize(
    "levels",
    [{"typos": 0.5}, {"image_noise": 1.0}, {"lost": 0.1}, {"latency_steps": 1}, {"latency": "measured"}, {"gain": 0.1}],
)
def test_every_level_is_in_facts_hash_and_notes(levels):
    plain, made = fake_plan(), fake_plan(Stress(**levels))
    assert made.protocol.hash != plain.protocol.hash
    assert made.protocol.facts["stress"]["seed"] == 0
    assert any(note.startswith("stressed, ") for note in made.notes)


def test_another_seed_is_another_protocol_and_seconds_are_steps():
    assert fake_plan(Stress(lost=0.1)).protocol.hash != fake_plan(Stress(lost=0.1, seed=1)).protocol.hash
    steps, seconds = Stress(latency_steps=6), Stress(latency_seconds=0.2)
    assert facts_of(steps, 30.0) == facts_of(seconds, 30.0)
    assert steps_of(Stress(latency_seconds=0.21), 30.0) == 7


def test_every_field_has_an_axis_or_says_how():
    fields = {each.name for each in dataclasses.fields(Stress)}
    assert fields - {name for names in AXES.values() for name in names} == {"seed", "words_file", "meanwhile"}


def test_presets_are_levels_of_one_axis_each():
    for preset in presets("stress"):
        content = yaml.safe_load((FOLDER / "stress" / f"{preset.name}.yaml").read_text(encoding="utf-8"))
        levels = changed(build(Stress, content, "stress"))
        axes = {axis for axis, names in AXES.items() if set(names) & set(levels)}
        assert axes == (set() if preset.name == "none" else {preset.name.partition("_")[0]}), preset.name
        assert preset.text


def test_configuration_goes_there_and_back():
    config = load_config(["benchmark=fake", "stress=image_black_static", "stress.lost=0.25", "stress.black=front"])
    assert config.stress == Stress(black=("front",), lost=0.25)
    assert config_from_plain(config_to_plain(config)) == config
    assert "stress" not in config_to_plain(load_config(["benchmark=fake"]))


def test_presets_of_several_axes_add_up():
    words = ["benchmark=fake", "stress.lost=0.2", "stress=image_black_static,body_lost,words_polite,time_200_ms_hold"]
    wanted = Stress(black=("static",), lost=0.2, wording="polite", latency_seconds=0.2, meanwhile="hold")
    assert load_config(words).stress == wanted
    assert load_config([*words[:2], f"stress=[{words[2].partition('=')[2]}]"]).stress == wanted
    with pytest.raises(ConfigError, match=r"both set stress\.brightness"):
        load_config(["benchmark=fake", "stress=image_dark,image_bright"])
    with pytest.raises(ConfigError, match=r"there is no stress=image_drak\. Did you mean 'image_dark'"):
        load_config(["benchmark=fake", "stress=body_lost,image_drak"])


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        ({"lost": 1.5}, "from 0 to 1"),
        ({"clutter": -1}, "from 0 to 12"),
        ({"wording": "file"}, "words_file"),
        ({"latency_steps": 3, "latency_seconds": 0.1}, "say the same"),
        ({"latency": "measured", "latency_steps": 3}, "drop the stated"),
        ({"lost": 0.6, "repeated": 0.6}, "together"),
    ],
)
def test_levels_that_cannot_be_are_refused_in_a_sentence(levels, said):
    with pytest.raises(UserError, match=said):
        Stress(**levels)


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        ({"black": ("static",)}, "no such camera"),
        ({"clutter": 3}, "cannot change that"),
        ({"wording": "paraphrase"}, "no other sentences"),
    ],
)
def test_what_a_benchmark_does_not_have_is_refused(levels, said):
    with pytest.raises(ConfigError, match=said):
        fake_plan(Stress(**levels))


def test_words_change_the_instructions_alone():
    plain, made = fake_plan(), fake_plan(Stress(wording="other_task"))
    for before, after in zip(plain.protocol.episodes, made.protocol.episodes, strict=True):
        assert all(a != b for a, b in zip(before.instructions, after.instructions, strict=True))
        assert dataclasses.replace(after, instructions=before.instructions) == before
    assert made.simulation == plain.simulation


def test_words_of_an_episode_do_not_depend_on_which_others_are_run():
    few, many = fake_plan(Stress(typos=1.0), sequences=2), fake_plan(Stress(typos=1.0), sequences=6)
    assert many.protocol.episodes[:2] == few.protocol.episodes


def test_a_users_file_of_sentences(tmp_path):
    path = tmp_path / "said.yaml"
    tasks = [subtask for each in fake_plan().protocol.episodes for subtask in each.subtasks]
    path.write_text("".join(f"{task}: ['do {task}']\n" for task in set(tasks)), encoding="utf-8")
    made = fake_plan(Stress(wording="file", words_file=str(path)))
    assert made.protocol.episodes[0].instructions == tuple(f"do {t}" for t in made.protocol.episodes[0].subtasks)
    path.write_text("one: two\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="sentence"):
        fake_plan(Stress(wording="file", words_file=str(path)))


def test_paraphrases_are_there_for_all_tasks_and_each_for_one_task():
    sentences = paraphrases()
    assert set(sentences) == set(TASKS)
    every = [text for texts in sentences.values() for text in texts]
    assert len(every) == len(set(every))
    for task, texts in sentences.items():
        assert len(texts) >= 4
        for text in texts:
            colour = re.search("red|blue|pink", task)
            assert not colour or colour[0] in text
            assert ("left" in task) <= bool(re.search("left|counterclockwise", text)), (task, text)
            assert ("right" in task) <= bool(re.search(r"right|\bclockwise", text)), (task, text)


def test_words_in_other_words():
    generator = np.random.default_rng(0)
    assert words.synonyms("turn on the light bulb", generator) == "turn on the lamp"
    assert (
        words.synonyms("move the lever down to put out the bulb", generator)
        == "shift the handle down to put out the lamp"
    )
    assert words.synonyms("push the red block left", generator) == "shove the red cube left"
    assert words.reordered("lift the red block") == "the red block lift"
    assert "lift it" in words.polite("lift it", generator)
    slipped = words.with_typos("push the red block to the left", 1.0, generator)
    assert slipped != "push the red block to the left"
    assert len(slipped.split()) == 7
    assert words.with_typos("push it", 0.0, generator) == "push it"


def test_pictures_change_and_nothing_beside_them():
    rgb = np.random.default_rng(1).integers(0, 200, (20, 30, 3)).astype(np.uint8)
    state = np.arange(3.0)
    for levels in ({"brightness": 0.2}, {"image_noise": 5.0}, {"black": ("a",)}, {"camera_blur": 0.5}):
        pictures = Pictures(Stress(**levels), ["a", "b"])
        pictures.begin(3)
        before = Observation({"rgb_a": rgb.copy(), "state": state})
        after = pictures.changed(before, 5)
        assert not np.array_equal(after["rgb_a"], rgb)
        assert after["rgb_a"].dtype == np.uint8
        assert after["state"] is state
        assert np.array_equal(before["rgb_a"], rgb), "what was rendered is not written into"
        assert np.array_equal(pictures.changed(before, 5)["rgb_a"], after["rgb_a"])
    bright = changed_picture(rgb, Stress(brightness=0.2), np.random.default_rng(0))
    assert np.array_equal(bright, np.clip(np.rint(rgb * np.float32(1.2)), 0, 255))
    noisy = changed_picture(np.full((50, 50, 3), 128, np.uint8), Stress(image_noise=10.0), np.random.default_rng(0))
    assert np.std(noisy.astype(float)) == pytest.approx(10, rel=0.05)


def test_a_coarser_picture_has_means_of_blocks():
    values = np.arange(16, dtype=np.float32).reshape(4, 4, 1)
    assert np.array_equal(coarser(values, 0.5)[:, :, 0], np.kron([[2.5, 4.5], [10.5, 12.5]], np.ones((2, 2))))
    assert coarser(np.ones((5, 7, 3), np.float32), 0.4).shape == (5, 7, 3)


def test_a_frozen_camera_shows_the_first_picture_of_each_episode():
    pictures = Pictures(Stress(frozen=("a",)), ["a"])
    for seed in (1, 2):
        pictures.begin(seed)
        shown = [
            pictures.changed(Observation({"rgb_a": np.full((2, 2, 3), seed * 10 + i, np.uint8)}), i) for i in range(3)
        ]
        assert [int(each["rgb_a"][0, 0, 0]) for each in shown] == [seed * 10] * 3


def body_of(levels, action=DELTA, seed=5):
    body = Body(Stress(**levels), action)
    body.begin(seed)
    return body


def in_chunks(body, actions, sizes):
    done = []
    for chunk in np.split(actions, np.cumsum(sizes)[:-1]):
        made = body.changed(chunk)
        body.executed(chunk, made)
        done.append(made)
    return np.concatenate(done)


@pytest.mark.parametrize(
    "levels", [{"action_noise": 0.3}, {"lost": 0.4}, {"repeated": 0.4}, {"gain": 0.05}, {"slow_gripper": 3}]
)
@pytest.mark.parametrize("name", ["relative", "absolute"])
def test_a_body_does_the_same_however_its_actions_are_cut(levels, name):
    actions = np.random.default_rng(0).uniform(-1, 1, (12, 7))
    actions[:, -1] = np.where(actions[:, -1] > 0, 1, -1)
    one = in_chunks(body_of(levels, CALVIN[name]), actions, [12])
    other = in_chunks(body_of(levels, CALVIN[name]), actions, [1, 4, 2, 5])
    assert np.array_equal(one, other)
    assert not np.array_equal(one, actions)
    assert set(one[:, -1]) <= {1.0, -1.0}


def test_what_a_body_does():
    relative, absolute = CALVIN["relative"], CALVIN["absolute"]
    actions = np.tile(np.linspace(-0.5, 0.5, 200)[:, None], (1, 7))
    actions[:, -1] = 1
    noisy = body_of({"action_noise": 0.2}, relative).changed(actions) - actions
    assert np.std(noisy[:, :6]) == pytest.approx(0.2, rel=0.1)
    assert not noisy[:, 6].any()
    metres = body_of({"action_noise": 0.2}, absolute).changed(actions) - actions
    assert np.std(metres[:, :3]) == pytest.approx(0.2 * 0.02, rel=0.1)
    assert np.std(metres[:, 3:6]) == pytest.approx(0.2 * 0.05, rel=0.1)
    lost = body_of({"lost": 0.25}, relative).changed(actions)
    assert np.mean(~lost[:, :6].any(axis=1)) == pytest.approx(0.25, abs=0.1)
    kept = body_of({"lost": 1.0}, absolute).changed(actions)
    assert np.array_equal(kept, np.tile(actions[0], (200, 1))), "it stays where it was last told to be"
    again = body_of({"repeated": 1.0}, relative).changed(actions)
    assert np.array_equal(again, np.tile(actions[0], (200, 1)))
    ratio = body_of({"gain": 0.05}, relative).changed(actions)[:, :6] / actions[:, :6]
    assert np.allclose(np.abs(ratio - 1), 0.05)
    assert np.allclose(ratio, ratio[0])
    actions[100:, -1] = -1
    slow = body_of({"slow_gripper": 6}, relative).changed(actions)
    assert np.array_equal(slow[:, :6], actions[:, :6])
    assert list(slow[:, -1]) == [1.0] * 106 + [-1.0] * 94


def test_a_quaternion_under_noise_stays_one():
    spec = next(each for each in CALVIN.values() if each.rotation == "quaternion_xyzw")
    actions = np.tile([0.1, 0.1, 0.1, 0, 0, 0, 1.0, 1.0], (5, 1))
    done = body_of({"action_noise": 1.0}, spec).changed(actions)
    assert np.allclose(np.linalg.norm(done[:, 3:7], axis=1), 1)
    assert not np.allclose(done[:, 3:7], actions[:, 3:7])


class Ledger:
    """A simulation that writes down what it is told."""

    def __init__(self):
        self.start = None

    def reset(self, start):
        self.start = start

    def advance(self, actions):
        return Outcome(max(1, len(actions) - 1), False, False)


def test_what_is_stopped_early_is_not_taken_for_executed():
    option = to_option(Stress(slow_gripper=1, lost=0.5), DELTA, 30.0)
    simulation = StressedSimulation(Ledger(), option, Sensors())
    (episode, *_) = fake_plan(Stress(lost=0.5)).protocol.episodes
    simulation.reset(episode.start)
    assert "stress" not in simulation._inner.start.state
    actions = np.zeros((4, DELTA.size))
    actions[:, -1] = DELTA.gripper_open
    simulation.advance(actions)
    assert simulation._body._step == 3
    assert len(simulation._body._told) == 3


def test_image_and_word_levels_leave_the_states_of_a_blind_policy_as_they_were():
    plain, _, actions = play()
    for stress in (Stress(typos=1.0), Stress(image_noise=20.0), Stress(wording="polite")):
        record, _, same = play(stress)
        assert [each.digest for each in record.subtasks] == [each.digest for each in plain.subtasks]
        assert np.array_equal(same, actions)


def test_words_leave_the_pictures_and_pictures_the_words():
    sensors = Sensors.of("front")
    _, plain, _ = play(sensors=sensors)
    _, worded, _ = play(Stress(wording="polite"), sensors=sensors)
    assert all(np.array_equal(a["rgb_front"], b["rgb_front"]) for a, b in zip(plain.seen, worded.seen, strict=True))
    assert worded.told != plain.told
    _, noisy, _ = play(Stress(image_noise=20.0), sensors=sensors)
    assert noisy.told == plain.told
    assert not np.array_equal(noisy.seen[0]["rgb_front"], plain.seen[0]["rgb_front"])
    names = [name for name in plain.seen[0] if not name.startswith("rgb")]
    assert all(np.array_equal(a[n], b[n]) for a, b in zip(plain.seen, noisy.seen, strict=True) for n in names)


def test_a_black_camera_is_no_fault_of_the_renderer():
    record, policy, _ = play(Stress(black=("front",)), sensors=Sensors.of("front"))
    assert record.status == "done"
    assert not policy.seen[0]["rgb_front"].any()


@pytest.mark.parametrize("levels", [{"brightness": -1.0}, {"brightness": 4.0}, {"camera_blur": 0.99}], ids=str)
def test_pictures_of_nothing_on_purpose_are_no_fault_either(levels):
    record, policy, _ = play(Stress(**levels), sensors=Sensors.of("front"))
    assert record.status == "done"
    assert policy.seen


@pytest.mark.parametrize("late", [1, 3, 7])
def test_actions_arrive_exactly_so_many_steps_late(late):
    _, _, plain = play(execute=10)
    record, _, actions = play(Stress(latency_steps=late), execute=10)
    first, rest = record.subtasks[0], actions[: record.subtasks[0].steps]
    assert not rest[:late, :-1].any(), "the arm holds, since there is no chunk before"
    for number in range(0, first.steps, 10 + late):
        here = rest[number : number + 10 + late]
        chunk = plain[:10] - plain[0]
        expected = np.arange(len(here[late:])) / 100000
        assert np.allclose(here[late:, 0] - (number // (10 + late) + 1) / 1000, expected)
        assert len(chunk) == 10
    assert first.flags[OBSERVATION_AGE] == pytest.approx(late + 4.5, abs=0.6)
    assert first.decisions == -(-first.steps // (10 + late))


def test_the_chunk_before_goes_on_while_the_policy_decides():
    record, _, actions = play(Stress(latency_steps=4), execute=3)
    rest = actions[: record.subtasks[0].steps]
    assert not rest[:4, 0].any()
    assert np.allclose(
        rest[4:14, 0], [0.001, 0.00101, 0.00102, 0.00103, 0.00104, 0.00105, 0.00106, 0.002, 0.00201, 0.00202]
    )
    _, _, held = play(Stress(latency_steps=4, meanwhile="hold"), execute=3)
    assert np.allclose(held[4:14, 0], [0.001, 0.00101, 0.00102, 0, 0, 0, 0, 0.002, 0.00201, 0.00202])
    assert (held[:14, -1] == DELTA.gripper_open).all()


def test_a_measured_latency_takes_what_decisions_take():
    record, _, actions = play(Stress(latency="measured"), execute=10, seconds=0.05)
    steps = -(-0.05 * FAKE.control_hz // 1)
    assert not actions[: int(steps), 0].any()
    assert actions[int(steps), 0] == pytest.approx(0.001)
    assert OBSERVATION_AGE in record.subtasks[0].flags


def test_a_latency_of_nothing_is_the_ordinary_record():
    plain, _, _ = play(execute=3)
    zero, _, _ = play(Stress(latency_seconds=0.0, seed=4), execute=3)
    assert zero.outcome() == plain.outcome()


def test_later_rules_are_facts_and_no_words():
    facts = facts_of(Stress(clutter=2, lost=0.1), 30.0)
    assert facts == {"clutter": 2, "lost": 0.1, "rules": {"clutter": RULES["clutter"]}, "seed": 0}
    assert described(facts) == "clutter: 2 objects; body: lost 0.1"
    assert "rules" not in facts_of(Stress(lost=0.1), 30.0)


def test_what_is_drawn_is_what_its_rule_drew_before():
    """Where this fails, what is drawn has changed: raise the version of the level in RULES, then write it here anew."""
    body = Body(Stress(action_noise=0.5, gain=0.1), DELTA)
    body.begin(7)
    assert not {"action_noise", "gain", "lost", "repeated", "image_noise"} & set(RULES)
    assert body.changed(np.full((2, DELTA.size), 0.25))[:, :2] == pytest.approx(np.array(NOISY), abs=1e-5)
    body = Body(Stress(lost=0.3, repeated=0.3), DELTA)
    body.begin(7)
    actions = np.tile(np.arange(1.0, 13.0)[:, None] / 100, (1, DELTA.size))
    assert (100 * body.changed(actions)[:, 0]).round().astype(int).tolist() == LOST_OR_REPEATED
    picture = changed_picture(np.full((2, 2, 3), 128, np.uint8), Stress(image_noise=30.0), np.random.default_rng(7))
    assert picture[0].tolist() == GRAINY


def test_facts_in_words():
    assert described({"lost": 0.1, "black": ["front"], "seed": 0}) == "body: lost 0.1; image: black front"
    assert described({"latency": 6, "meanwhile": "hold", "seed": 2}) == "time: latency 6 steps, hold meanwhile (seed 2)"
    assert described({"brightness": -0.4, "camera_blur": 0.5}) == "image: brightness −40%; cameras: resolution less 50%"
    assert described({"wording": "other_task"}) == "words: wording other task"
    assert episode_seed(0, "seq-0001") != episode_seed(0, "seq-0002")
    assert isinstance(FAKE, EnvironmentSpec)


class Countdown:
    """A simulation whose subtasks are solved after so many control steps, whatever is done; it shows the time."""

    def __init__(self, solved, late, hold):
        self.clock = Clock(late, 0.0, hold, DELTA)
        self._left, self.time, self.done = list(solved), 0, []
        self.begun = []

    def reset(self, start):
        pass

    def begin(self, subtask):
        self._rest = self._left.pop(0)
        self.begun.append(self.time)

    def observe(self):
        return Observation({"time": np.array([float(self.time)])})

    def advance(self, actions):
        taken = actions[: self._rest]
        self.done += [np.array(action) for action in taken]
        self.time += len(taken)
        self._rest -= len(taken)
        return Outcome(len(taken), self._rest == 0, self._rest == 0)

    def privileged(self):
        return SimpleNamespace(digest=lambda: "")


class Teller(Walker):
    """Commands the time that it saw, and the place of the action in its chunk."""

    def act(self, slots, observations):
        (observation,) = observations
        chunk = np.zeros((self.spec.chunk, self.spec.action.size))
        chunk[:, 0] = (1 + float(observation["time"][0])) / 1000  # actions are at most 1
        chunk[:, 1] = np.arange(self.spec.chunk) / 1000
        return [chunk]


@pytest.mark.parametrize("hold", [False, True])
@pytest.mark.parametrize("execute", [1, 3, 10])
@pytest.mark.parametrize("late", [1, 2, 6, 13])
def test_every_action_of_every_subtask_is_exactly_so_late(late, execute, hold):
    solved = (17, 23, late, 40)  # the third is over while the policy still thinks
    simulation = Countdown(solved, late, hold)
    (episode, *_) = fake_plan(step_limit=60).protocol.episodes
    names = tuple(f"task{k}" for k in range(len(solved)))
    episode = dataclasses.replace(episode, subtasks=names, instructions=names)
    record = run_episode(simulation, Teller(PolicySpec("teller", DELTA, BLIND, 10, execute)), episode, seed=0)
    assert [each.steps for each in record.subtasks] == list(solved)
    starts = [*simulation.begun, simulation.time]
    for begun, over in itertools.pairwise(starts):
        asked, before = begun, None
        while asked < over:
            for place in range(min(late + execute, over - asked)):
                seen, number = (1000 * simulation.done[asked + place][:2]).round().astype(int)
                if place >= late:
                    assert (seen, number) == (1 + asked, place - late)
                elif before is not None and not hold and execute + place < 10:
                    assert (seen, number) == (1 + before, execute + place)
                else:
                    assert (seen, number) == (0, 0), "it holds"
            asked, before = asked + late + execute, asked
