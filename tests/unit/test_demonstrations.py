"""Plans, pieces and disturbances of recordings; no simulator."""

from __future__ import annotations

import numpy as np
import pytest

from vla_bench.bench.errors import ConfigError, ResultSetError
from vla_bench.bench.families.calvin_data.record_data import parse
from vla_bench.bench.families.calvin_demonstrations.disturbance import Disturber
from vla_bench.bench.families.calvin_demonstrations.feasible import kind_of
from vla_bench.bench.families.calvin_demonstrations.options import Disturbance, RecordingConfig
from vla_bench.bench.families.calvin_demonstrations.pieces import recordings, unpushed
from vla_bench.bench.families.calvin_demonstrations.planning import episodes_after, prepare
from vla_bench.bench.families.calvin_demonstrations.take import RecordedEpisode
from vla_bench.bench.protocol import EpisodeRecord
from vla_bench.bench.setup.config import PolicyConfig, RunConfig
from vla_bench.envs.calvin.tasks import TASKS


def planned(**changes):
    config = RecordingConfig(output="x", tasks=("open_drawer", "stack_block"), **changes)
    return prepare(config, PolicyConfig("expert"), RunConfig())


def record(episode, solved):
    return EpisodeRecord(episode.index, episode.episode, episode.start.scene, "done", int(solved), ())


def test_failures_are_made_up_for_in_an_order_that_does_not_depend_on_who_was_faster():
    plan = planned(count=3, scenes=("A", "B"))
    first = episodes_after(plan, [], {})
    assert [each.episode for each in first[:4]] == [
        "A-open_drawer-00000",
        "A-open_drawer-00001",
        "A-open_drawer-00002",
        "A-stack_block-00000",
    ]
    done = {each.index: record(each, each.index not in (1, 2, 5)) for each in first}
    second = episodes_after(plan, first, dict(reversed(done.items())))
    assert [each.episode for each in second] == ["A-open_drawer-00003", "A-open_drawer-00004", "A-stack_block-00003"]
    assert [each.index for each in second] == [12, 13, 14]
    done |= {each.index: record(each, True) for each in second}
    assert episodes_after(plan, [*first, *second], done) == []


def test_a_task_is_given_up_after_so_many_tries():
    plan = planned(count=2, tries=2)
    episodes, done = [], {}
    while wave := episodes_after(plan, episodes, done):
        episodes += wave
        done |= {each.index: record(each, each.subtasks[0] == "stack_block") for each in wave}
    assert len([each for each in episodes if each.subtasks[0] == "open_drawer"]) == 4


def test_all_episodes_are_kept_and_none_made_up_for():
    plan = planned(count=2, keep="all")
    first = episodes_after(plan, [], {})
    assert episodes_after(plan, first, {each.index: record(each, False) for each in first}) == []


def test_the_share_for_validation_is_spread_over_every_task():
    plan = planned(count=8, validation=0.25)
    splits = [plan.split_of(each) for each in episodes_after(plan, [], {})]
    assert splits == ["training", "training", "training", "validation"] * 4


def test_runs_between_pushes():
    assert unpushed(np.array([0, 0, 1, 1, 0, 1, 0], bool)) == [(0, 2), (4, 5), (6, 7)]
    assert unpushed(np.array([1, 1], bool)) == []
    assert unpushed(np.zeros(3, bool)) == [(0, 3)]


def episode_of(steps, pushed, subtasks):
    places = np.arange(steps + 1, dtype=np.float64)
    arrays = {
        "robot_obs": np.tile(places[:, None], 15),
        "scene_obs": np.tile(places[:, None], 24),
        "rgb_static": np.tile(places.astype(np.uint8)[:, None, None, None], (1, 2, 2, 3)),
        "commanded": np.tile(places[:-1, None], 7) / 100,
        "targets": np.tile(places[:-1, None], 7),
        "pushed": np.isin(np.arange(steps), pushed),
    }
    named = [
        {"start": start, "end": end, "task": task, "instruction": task, "success": True}
        for start, end, task in subtasks
    ]
    return RecordedEpisode("D", tuple(named), arrays)


def test_achieved_labels_leave_the_pushed_frames_out():
    episode = episode_of(10, [3, 4], [(0, 6, "open_drawer"), (6, 10, "turn_on_led")])
    before, after = recordings(episode, "e", "achieved")
    assert (before.robot_obs[:, 0] == [0, 1, 2, 3]).all() and (after.robot_obs[:, 0] == [5, 6, 7, 8, 9, 10]).all()
    assert [(each.start, each.end, each.task) for each in before.annotations] == [(0, 3, "open_drawer")]
    assert [(each.start, each.end, each.task) for each in after.annotations] == [
        (0, 1, "open_drawer"),
        (1, 5, "turn_on_led"),
    ]
    assert after.notes == {"episode": "e", "piece": 1, "pieces": 2} and after.actions is None


def test_commanded_labels_keep_them_with_what_the_policy_asked_for():
    (whole,) = recordings(episode_of(10, [3, 4], [(0, 10, "open_drawer")]), "e", "commanded")
    assert whole.steps == 10 and (whole.rel_actions[:, 0] == np.arange(10) / 100).all()
    assert (whole.actions[:, 0] == np.arange(10)).all()


def test_a_disturbance_is_bounded_leaves_the_gripper_alone_and_comes_in_bursts():
    disturber = Disturber(Disturbance(bursts=1.0, rate=0.1, clean=0.0), np.random.default_rng(3))
    action = np.array([0.5, 0, 0, 0, 0, 0, -1.0])
    executed, pushed = zip(*(disturber.disturbed(action) for _ in range(400)), strict=True)
    executed, pushed = np.array(executed), np.array(pushed)
    assert (np.abs(executed) <= 1).all() and (executed[:, 6] == -1).all()
    assert ((executed != action).any(axis=1) == pushed).all()
    assert 0.15 < pushed.mean() < 0.5


def test_clean_episodes_and_no_disturbance_change_nothing():
    action = np.ones(7)
    for options in (Disturbance(), Disturbance(bursts=1.0, white=1.0, clean=1.0)):
        executed, pushed = Disturber(options, np.random.default_rng(0)).disturbed(action)
        assert executed is action and not pushed


def test_kinds_leave_colour_and_direction_out():
    kinds = {kind_of(task) for task in TASKS}
    assert len(kinds) == 14 and {"drawer", "lift_block_table", "turn_led", "push_into_drawer"} <= kinds


def test_words_of_the_command():
    recording, config = parse(["output=1/a", "scenes=A,B", "tasks=open_drawer", "bursts=1", "policy=expert",
                               "policy.tolerance=0.003", "run.workers=2", "run.backend=local"])  # fmt: skip
    assert (recording.output, recording.scenes, recording.bursts) == ("1/a", ("A", "B"), 1.0)
    assert recording.tasks == ("open_drawer",) and config.policy.arguments == {"tolerance": 0.003}
    assert (config.run.workers, config.run.backend) == (2, "local")
    assert parse(["output=a", "scenes=[A,C]"])[0].scenes == ("A", "C")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "output=<folder>"),
        (["output=a", "scene=A"], "Did you mean 'scenes'"),
        (["output=a", "count=two"], "count=two: a whole number"),
        (["output=a", "scenes=E"], "no scene 'E'"),
        (["output=a", "static=0", "gripper=0"], "without images"),
        (["output=a", "labels=seen"], "not one of achieved, commanded"),
        (["output=a", "run.seed=3"], "seed=<number>"),
        (["output=a", "count=1", "count=2"], "given twice"),
    ],
)
def test_what_cannot_be_recorded_is_said(words, said):
    with pytest.raises(ConfigError, match=said):
        parse(words)


@pytest.mark.parametrize(
    ("changes", "target", "arguments", "said"),
    [
        ({"tasks": ("open_door",)}, "expert", {}, "no task 'open_door'"),
        ({"bursts": 0.5}, "stub", {"action": "absolute"}, "disturb relative actions"),
        ({"labels": "commanded"}, "stub", {"action": "joint_absolute"}, "needs relative or absolute"),
        ({"static": 64}, "expert", {"cameras": "static"}, "another size"),
        ({"looks": 2}, "stub", {"action": "absolute"}, "looks=: needs a policy of relative actions"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused(changes, target, arguments, said):
    with pytest.raises(ConfigError, match=said):
        prepare(RecordingConfig(output="x", **changes), PolicyConfig(target, arguments), RunConfig())


def test_a_result_set_without_actions_is_refused(tmp_path):
    with pytest.raises(ResultSetError, match="video=all"):
        prepare(RecordingConfig(output="x", result_set=str(tmp_path)), PolicyConfig(), RunConfig())
