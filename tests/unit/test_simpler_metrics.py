"""SimplerEnv's numbers: means over variants, MMRV and Pearson, against the published tables."""

from __future__ import annotations

import dataclasses

import pytest

from vla_bench.bench.families import simpler
from vla_bench.bench.families.simpler_agreement import agreement, mean_maximum_rank_violation, pearson, published
from vla_bench.bench.families.simpler_score import score_of_records, score_of_trials
from vla_bench.bench.protocol import EpisodeRecord, SubtaskRecord
from vla_bench.bench.records import scoring
from vla_bench.envs.simpler.grids import SETS


def numbered(records):
    """As they stand in a journal: each its own episode."""
    return [
        dataclasses.replace(record, index=index, episode=f"{record.episode[:-3]}{index:03d}")
        for index, record in enumerate(records)
    ]


def rows(records):
    records = numbered(records)
    return scoring.rows(score_of_records({}, records), records)


def variant_rates(records):
    records = numbered(records)
    return scoring.part_rates(score_of_records({}, records), records)


def weights(records):
    records = numbered(records)
    return scoring.weights(score_of_records({}, records), records)


def trial(task: str, variant: str, success: bool, *, ever: bool = False, **flags: float) -> EpisodeRecord:
    subtask = SubtaskRecord(0, task, "do it", success, 60, 60, "", ever or success, flags)
    return EpisodeRecord(0, f"{task}-{variant}-000", variant, "done", int(success), (subtask,))


CAN = "google_robot_pick_horizontal_coke_can"
STANDING = "google_robot_pick_standing_coke_can"


def test_variants_count_alike_whatever_their_trials():
    records = [trial(CAN, "base", True)] * 3 + [trial(CAN, "table_1", False)]
    (row,) = rows(records)
    assert (row.name, row.success.value, row.success.n) == ("google_robot_pick_coke_can", 0.5, 4)
    assert row.success.low < 0.25 and row.success.high > 0.75, "as one of two, not three of four"


def test_tasks_of_a_row_count_alike():
    records = [trial(CAN, "base", True)] * 2 + [trial(STANDING, "base", False)]
    assert rows(records)[0].success.value == 0.5


def test_the_average_is_over_rows_and_camera_variants_are_left_out():
    records = [trial(CAN, "base", True), trial(CAN, "camera_1", False)]
    records.append(trial("google_robot_open_top_drawer", "base", False))
    assert {row.name: row.success.value for row in rows(records)} == {
        "google_robot_pick_coke_can": 1.0,
        "google_robot_open_drawer": 0.0,
        "average": 0.5,
    }
    assert [(each.name, each.counted) for each in variant_rates(records)] == [
        ("base", True),
        ("camera_1", False),
        ("base", True),
    ]


@pytest.mark.parametrize("policy", ["rt-1-x", "rt-2-x", "octo-base"])
def test_both_drawers_count_as_one_task_in_the_average(policy: str):
    """The published averages of the chart, from the tables of the paper it was made of."""
    published_rows = {
        "google_robot_pick_coke_can": CAN,
        "google_robot_move_near": "google_robot_move_near_v0",
        "google_robot_open_drawer": "google_robot_open_top_drawer",
        "google_robot_close_drawer": "google_robot_close_top_drawer",
    }
    records = [
        trial(task, "arm_default", number < round(1000 * published()[row][policy].simulated))
        for row, task in published_rows.items()
        for number in range(1000)
    ]
    header = {"protocol": {"facts": {"set": "visual_matching"}}}
    chart = {bar.method.lower(): bar.success for bar in simpler.published(header)}
    found = {row.name: row.success.value for row in rows(records)}
    assert found["average"] == pytest.approx(chart[policy], abs=0.0051)
    assert found["google_robot_open_and_close_drawer"] == pytest.approx(
        (found["google_robot_open_drawer"] + found["google_robot_close_drawer"]) / 2
    )


def test_weights_of_trials_make_the_average():
    records = [trial(CAN, "base", solved) for solved in (True, False, True)]
    records += [trial(STANDING, "base", False), trial("google_robot_open_top_drawer", "base", True)]
    records += [trial("google_robot_close_top_drawer", "base", False), trial(CAN, "camera_1", True)]
    found = [weight * record.chain_length for weight, record in zip(weights(records), records, strict=True)]
    assert sum(found) / len(found) == pytest.approx(rows(records)[-1].success.value)
    assert rows(records)[-1].success.value == pytest.approx((2 / 3 / 2 + 1 / 2) / 2)


def test_success_in_the_middle_is_ever_but_no_success():
    spoon = trial("widowx_spoon_on_towel", "photo", False, ever=True, is_src_obj_grasped=1.0)
    (row,) = rows([spoon])
    assert (row.success.value, row.ever, row.partial) == (0.0, 1.0, 1.0)


def test_errors_are_no_trials():
    failed = dataclasses.replace(trial(CAN, "base", False), status="error", subtasks=())
    (row,) = rows([trial(CAN, "base", True), failed])
    assert (row.success.value, row.success.n, row.bounds) == (1.0, 1, (0.5, 1.0))


def test_rank_violations_weigh_the_real_difference():
    # Simulation swaps the two best: each of them pays their real difference, the third nothing.
    assert mean_maximum_rank_violation([0.5, 0.6, 0.1], [0.9, 0.7, 0.2]) == pytest.approx(2 * 0.2 / 3)
    assert mean_maximum_rank_violation([0.9, 0.7, 0.2], [0.5, 0.6, 0.1]) == pytest.approx(2 * 0.1 / 3)
    assert mean_maximum_rank_violation([0.3, 0.2], [0.9, 0.1]) == 0.0


def test_a_tie_in_one_ranking_only_is_a_violation_on_one_side():
    assert mean_maximum_rank_violation([0.5, 0.5], [0.9, 0.5]) == pytest.approx(0.4 / 2)


def test_pearson_is_one_for_a_shift_and_near_minus_one_for_a_mirror():
    assert pearson([0.1, 0.2, 0.4], [0.1, 0.2, 0.4]) == 1.0
    assert pearson([0.1, 0.2, 0.3], [0.3, 0.2, 0.1]) == pytest.approx(-1.0, abs=1e-6)
    with pytest.raises(ValueError, match="2 simulated numbers for 1"):
        pearson([0.1, 0.2], [0.1])


@pytest.mark.parametrize(
    ("task", "violation", "correlation"),
    [
        # Made with simpler_env.utils.metrics of SimplerEnv 4ab7178 on its own tables.
        ("google_robot_pick_coke_can", 0.03133333333333336, 0.9754339621228817),
        ("google_robot_move_near", 0.11099999999999999, 0.8560966643118902),
        ("google_robot_open_drawer", 0.0, 0.9831664917316731),
        ("google_robot_close_drawer", 0.12333333333333335, 0.7712328181593621),
        ("google_robot_place_apple_in_closed_top_drawer", 0.0, 0.96917180614324),
        ("widowx_spoon_on_towel", 0.0, 0.8269440858336992),
        ("widowx_carrot_on_plate", 0.11133333333333333, 0.571367598454572),
        ("widowx_stack_cube", 0.0, 0.9999971428653062),
        ("widowx_put_eggplant_in_basket", 0.0, 0.9894145664016768),
    ],
)
def test_the_published_tables_give_the_published_agreement(task, violation, correlation):
    table = published()
    simulated = {task: {name: each.simulated for name, each in table[task].items()}}
    (found,) = agreement(simulated, table)
    assert found.violation == pytest.approx(violation, abs=1e-9)
    assert found.correlation == pytest.approx(correlation, abs=1e-9)


def test_every_row_has_real_results():
    table = published()
    assert len(table) == 9 and set(table["widowx_stack_cube"]) == {"rt-1-x", "octo-base", "octo-small"}


@pytest.mark.parametrize("name", SETS)
def test_the_score_of_a_plan_is_the_one_read_off_the_names_of_its_records(name):
    trials = SETS[name].trials(cameras=True)
    records = [EpisodeRecord(index, each.name, each.variant.name, "done", 0, ()) for index, each in enumerate(trials)]
    assert score_of_trials(trials) == score_of_records({}, records)
