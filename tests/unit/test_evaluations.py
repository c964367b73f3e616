import dataclasses

import pytest

from vla_bench.bench.errors import ConfigError, PolicyError
from vla_bench.bench.setup.config import benchmark_from_plain
from vla_bench.bench.setup.plan import environment_of, plan
from vla_bench.envs.observation import Sensors
from vla_bench.policies.base import PolicySpec

PLAIN = {"family": "fake", "sequences": 6, "step_limit": 30}
FAKE = benchmark_from_plain(PLAIN)
POLICY = PolicySpec("mine", environment_of(FAKE).actions[0], Sensors.of("front"), chunk=4, execute=2)


def fake(**changes):
    return benchmark_from_plain({**PLAIN, **changes})


def hash_of(**changes):
    return plan(fake(**changes), POLICY).protocol.hash


def test_a_plan_is_the_same_every_time():
    assert plan(FAKE, POLICY) == plan(FAKE, POLICY)
    assert hash_of() == hash_of()


def test_fewer_sequences_are_the_first_ones():
    few = fake(sequences=2)
    assert plan(few, POLICY).protocol.episodes == plan(FAKE, POLICY).protocol.episodes[:2]


def test_the_simulation_is_made_for_the_policy():
    simulation = plan(FAKE, POLICY).simulation
    assert simulation.sensors == POLICY.sensors
    assert simulation.action == "relative"


@pytest.mark.parametrize(
    "changes",
    [{"sequences": 5}, {"step_limit": 31}, {"kind": "tasks"}, {"assets": "official"}, {"scenes": ("A",)}],
)
def test_what_may_change_a_number_changes_the_hash(changes):
    assert hash_of(**changes) != hash_of()


@pytest.mark.parametrize("changes", [{"split": "ABC"}, {"name": "x"}, {"options": {"step_seconds": 0.1}}])
def test_what_cannot_change_a_number_does_not(changes):
    assert hash_of(**changes) == hash_of()


def test_executing_more_of_a_chunk_is_another_protocol():
    other = plan(FAKE, dataclasses.replace(POLICY, execute=4))
    assert other.protocol.hash != plan(FAKE, POLICY).protocol.hash


def test_the_task_suite_has_every_task_in_every_scene():
    suite = fake(kind="tasks", scenes=("A", "B"), rollouts=3, tasks=("raise", "lower"))
    episodes = plan(suite, POLICY).protocol.episodes
    assert len(episodes) == 2 * 2 * 3
    assert len({episode.episode for episode in episodes}) == 12
    assert [episode.index for episode in episodes] == list(range(12))
    assert {(episode.start.scene, *episode.subtasks) for episode in episodes} == {
        ("A", "raise"),
        ("A", "lower"),
        ("B", "raise"),
        ("B", "lower"),
    }


def test_a_policy_of_another_convention_is_refused_with_the_difference():
    action = dataclasses.replace(POLICY.action, frame="tcp")
    with pytest.raises(PolicyError, match="frame"):
        plan(FAKE, dataclasses.replace(POLICY, action=action))


def test_a_camera_there_is_not():
    with pytest.raises(PolicyError, match=r"frnt.*'front'"):
        plan(FAKE, dataclasses.replace(POLICY, sensors=Sensors.of("frnt")))


def test_a_task_there_is_not():
    with pytest.raises(ConfigError, match=r"no task 'rise'\. Did you mean 'raise'"):
        plan(fake(tasks=("rise",)), POLICY)


def test_an_option_there_is_not():
    with pytest.raises(ConfigError, match=r"benchmark has no field 'cue' in fake. Did you mean 'cues'"):
        fake(options={"cue": []})


def test_another_renderer_is_another_protocol_where_images_are_looked_at():
    """CALVIN's renderers draw the same scene differently, and scores follow."""

    def facts_of(renderer, cameras):
        benchmark = benchmark_from_plain(
            {"family": "calvin", "assets": "builtin", "renderer": renderer, "sequences": 1}
        )
        convention = environment_of(benchmark).actions[0]
        made = plan(benchmark, PolicySpec("mine", convention, Sensors.of(*cameras)))
        return made.protocol.hash, made.protocol.facts["renderer"], made.simulation.options["renderer"]

    tiny, fast = (facts_of(renderer, ("static",)) for renderer in ("tiny", "fast"))
    assert (tiny[1:], fast[1:]) == (("tiny", "tiny"), ("fast", "fast"))
    assert tiny[0] != fast[0]
    blind = [facts_of(renderer, ()) for renderer in ("tiny", "fast")]
    assert blind[0] == blind[1] and blind[0][1] == "none"
