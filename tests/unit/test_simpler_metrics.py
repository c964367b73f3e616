"""SimplerEnv's numbers: means over variants, MMRV and Pearson, against the published tables."""

from __future__ import annotations

import dataclasses

import pytest

from bench.protocol import EpisodeRecord, SubtaskRecord
from bench.simpler_metrics import agreement, mean_maximum_rank_violation, pearson, published, rows


def trial(task: str, variant: str, success: bool, *, ever: bool = False, **flags: float) -> EpisodeRecord:
    subtask = SubtaskRecord(0, task, "do it", success, 60, 60, "", ever or success, flags)
    return EpisodeRecord(0, f"{task}-{variant}", variant, "done", int(success), (subtask,))


CAN = "google_robot_pick_horizontal_coke_can"
STANDING = "google_robot_pick_standing_coke_can"


def test_variants_count_alike_whatever_their_trials():
    records = [trial(CAN, "base", True)] * 3 + [trial(CAN, "table_1", False)]
    (row,) = rows(records)
    assert (row.name, row.success) == ("google_robot_pick_coke_can", 0.5)
    assert (row.pooled.successes, row.pooled.n) == (3, 4)


def test_tasks_of_a_row_count_alike():
    records = [trial(CAN, "base", True)] * 2 + [trial(STANDING, "base", False)]
    assert rows(records)[0].success == 0.5


def test_the_average_is_over_rows_and_camera_variants_are_left_out():
    records = [trial(CAN, "base", True), trial(CAN, "camera_1", False)]
    records.append(trial("google_robot_open_top_drawer", "base", False))
    assert {row.name: row.success for row in rows(records)} == {
        "google_robot_pick_coke_can": 1.0,
        "google_robot_open_drawer": 0.0,
        "average": 0.5,
    }


def test_success_in_the_middle_is_ever_but_no_success():
    spoon = trial("widowx_spoon_on_towel", "photo", False, ever=True, is_src_obj_grasped=1.0)
    (row,) = rows([spoon])
    assert (row.success, row.ever, row.grasped) == (0.0, 1.0, 1.0)


def test_errors_are_no_trials():
    failed = dataclasses.replace(trial(CAN, "base", False), status="error", subtasks=())
    assert rows([trial(CAN, "base", True), failed])[0].pooled.n == 1


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
