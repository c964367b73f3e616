"""SimplerEnv's trials: the paper's counts, places and limits, and how a plan is made of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml

from vla_bench.bench.errors import ConfigError
from vla_bench.bench.families import find_family
from vla_bench.bench.families.family import BenchmarkConfig
from vla_bench.bench.families.simpler_python import PYTHON_VARIABLE
from vla_bench.bench.protocol import spec_from_plain, to_plain
from vla_bench.bench.setup.config import benchmark_from_plain, build
from vla_bench.bench.setup.plan import environment_of
from vla_bench.bench.setup.plan import plan as plan_of
from vla_bench.bench.setup.presets import FOLDER, load_config, presets
from vla_bench.bench.stress.planning import stressed
from vla_bench.envs.errors import AssetError, RendererError
from vla_bench.envs.observation import Sensors
from vla_bench.envs.simpler import vulkan
from vla_bench.envs.simpler.assets import MODELS, STAGES, VARIABLE, git_name, needed_paths
from vla_bench.envs.simpler.grids import SETS, STATIONS, eggplant_layouts, heading, spoken, variant_named
from vla_bench.envs.simpler.tasks import BRIDGE_TASKS, TASKS
from vla_bench.envs.stress.levels import Stress
from vla_bench.policies.base import PolicySpec

COUNTS = {
    "bridge": {task.name: 24 for task in BRIDGE_TASKS},
    "visual_matching": {
        "google_robot_pick_coke_can": 300,
        "google_robot_move_near": 240,
        "google_robot_open_drawer": 108,
        "google_robot_close_drawer": 108,
        "google_robot_place_apple_in_closed_top_drawer": 108,
    },
    "variant_aggregation": {
        "google_robot_pick_coke_can": 675,
        "google_robot_move_near": 480,
        "google_robot_open_drawer": 189,
        "google_robot_close_drawer": 189,
        "google_robot_place_apple_in_closed_top_drawer": 189,
    },
}
LOOKS = Sensors.of("overhead_camera")


@pytest.mark.parametrize("name", SETS)
def test_each_set_has_the_papers_trials(name):
    trials = SETS[name].trials()
    assert Counter(trial.task.reported for trial in trials) == COUNTS[name]
    assert len({trial.name for trial in trials}) == len(trials)


def test_the_camera_variants_are_run_only_when_asked_for_and_never_counted():
    aggregation = SETS["variant_aggregation"]
    added = Counter(t.task.reported for t in aggregation.trials(cameras=True) if not t.variant.counted)
    assert added == {"google_robot_pick_coke_can": 150, "google_robot_move_near": 120}


def test_every_variant_of_a_task_has_the_same_number_of_trials():
    for each in SETS.values():
        counts = Counter((trial.task.name, trial.variant.name) for trial in each.trials())
        for task in each.tasks:
            assert len({n for (name, _), n in counts.items() if name == task.name}) == 1


def test_coke_cans_lie_on_the_papers_five_by_five_grid():
    cans = {t.state["objects"] for t in SETS["visual_matching"].trials() if "coke" in t.task.name}
    xs, ys = sorted({x for x, _ in cans}), sorted({y for _, y in cans})
    assert len(cans) == 25 and xs == pytest.approx(np.linspace(-0.35, -0.12, 5).tolist())
    assert ys == np.linspace(-0.02, 0.42, 5).tolist()


def test_drawers_are_seen_from_the_nine_photographed_places():
    opened = [t for t in SETS["visual_matching"].trials() if t.task.name == "google_robot_open_top_drawer"]
    assert {t.state["robot"] for t in opened} == {(s.x, s.y, s.yaw) for s in STATIONS}
    apples = [t for t in SETS["visual_matching"].trials() if "apple" in t.task.name]
    assert {STATIONS[int(t.state["station"][0])].name for t in apples} == {"a0", "b0", "c0"}


def test_instructions_are_those_of_the_original():
    near = [t for t in SETS["visual_matching"].trials() if "near" in t.task.name]
    assert near[0].instructions == ("move blue plastic bottle near pepsi can",)
    assert {t.instructions for t in near[:60]} == {t.instructions for t in near}
    assert spoken("baked_opened_7up_can_v2") == "7up can"
    apple = TASKS["google_robot_place_apple_in_closed_top_drawer"]
    assert apple.instructions == ("open top drawer", "place apple into top drawer")


def test_the_limits_are_the_papers():
    limits = {task.rule.name: task.step_limit for task in TASKS.values() if not task.sink}
    assert limits == {
        **{"put_on": 60, "pick": 80, "move_near": 80},
        **{"open_drawer": 113, "close_drawer": 113, "place_in_drawer": 200},
    }
    assert TASKS["widowx_put_eggplant_in_basket"].step_limit == 120


def test_the_base_faces_the_table_turned_by_the_yaw():
    assert heading(0.0) == (0.0, 0.0, 0.0, 1.0)
    w, _, _, z = heading(-0.09)
    assert (w, z) == pytest.approx((np.sin(0.045), np.cos(0.045)), abs=1e-7)


def test_eggplants_lie_in_the_sink():
    layouts = eggplant_layouts()
    assert layouts.shape == (24, 2, 7) and layouts.dtype == np.float32
    assert np.abs(np.linalg.norm(layouts[..., 3:], axis=-1) - 1).max() < 1e-5
    assert (np.abs(layouts[:, 0, 2] - 0.938) < 0.003).all()


def test_an_unknown_variant_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="has no variant 'night'; it has photo"):
        variant_named(BRIDGE_TASKS[0], "night")


@pytest.fixture
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an empty file for everything that any trial needs, and an interpreter that is there."""
    (tmp_path / MODELS).mkdir(parents=True)
    trials = [trial for each in SETS.values() for trial in each.trials()]
    for _ in range(2000):
        try:
            paths = needed_paths(trials, tmp_path, caches=True)
            break
        except AssetError as error:
            missing = str(error).split(" lacks ")[1].split(";")[0]
            (tmp_path / missing).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / missing).write_bytes(missing.encode())
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(path.encode())
    for stage in (tmp_path / STAGES).glob("*.glb"):
        Path(f"{stage}.nonconvex.stl").write_bytes(b"cache")
    python = tmp_path / "python"
    python.write_text("")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setenv(PYTHON_VARIABLE, str(python))
    device = vulkan.Device("a device", software=True, driver="a driver", partially_bound=True, semaphores=False)
    monkeypatch.setattr(vulkan, "probe", lambda *_: device)
    monkeypatch.setattr(vulkan, "has_denoiser", lambda: False)
    return tmp_path


def planned(benchmark: BenchmarkConfig, sensors: Sensors = Sensors()):  # noqa: B008 - immutable
    environment = environment_of(benchmark)
    policy = PolicySpec("p", environment.actions[0], sensors=sensors)
    return plan_of(benchmark, policy, environment)


def simpler(**changes) -> BenchmarkConfig:
    return benchmark_from_plain({"family": "simpler", **changes})


@pytest.mark.parametrize(
    ("preset", "episodes"),
    [("simpler_bridge", 96), ("simpler_google_vm", 864), ("simpler_google_va", 1722), ("simpler_smoke", 8)],
)
def test_every_preset_plans_its_episodes(assets, preset, episodes):
    plan = planned(load_config([f"benchmark={preset}"]).benchmark)
    assert len(plan.protocol.episodes) == episodes
    assert [episode.index for episode in plan.protocol.episodes] == list(range(episodes))
    assert all(episode.judged == "last" for episode in plan.protocol.episodes)
    assert plan.protocol.facts["renderer"] == "none"
    assert plan.python == ("" if preset == "simpler_smoke" else str(assets / "python"))


def test_an_episode_crosses_a_process_border(assets):
    episode = planned(simpler(options={"set": "visual_matching"})).protocol.episodes[-1]
    assert episode.subtasks == ("open_top_drawer", "google_robot_place_apple_in_closed_top_drawer")
    assert spec_from_plain(to_plain(episode)) == episode


def test_a_lower_step_limit_shortens_every_trial(assets):
    episodes = planned(simpler(step_limit=70)).protocol.episodes
    assert {episode.step_limit for episode in episodes} == {60, 70}


def test_tasks_are_chosen_by_name_or_by_the_row_they_are_reported_in(assets):
    options = {"set": "visual_matching", "trials": 1}
    plan = planned(simpler(tasks=("google_robot_pick_coke_can",), options=options))
    assert len(plan.protocol.episodes) == 3 * 4
    with pytest.raises(ConfigError, match="Did you mean 'widowx_stack_cube'"):
        planned(simpler(tasks=("widowx_stack_cubes",)))


def test_files_that_are_not_the_official_ones_mark_the_table(assets):
    plan = planned(simpler())
    assert plan.protocol.facts["assets"] == "stand-in"
    assert "not the official ones" in plan.notes[0] and "not comparable" in plan.notes[0]


def test_the_two_backends_never_share_a_protocol(assets):
    plans = [planned(simpler(options={"backend": name})) for name in ("simpler_env", "maniskill3")]
    assert plans[0].protocol.hash != plans[1].protocol.hash
    assert any("ManiSkill3" in note for note in plans[1].notes)
    assert plans[1].python == ""


def test_drawers_ask_for_leave_to_be_rasterised_only_when_they_are_looked_at(assets):
    options = {"set": "visual_matching"}
    assert planned(simpler(options=options)).protocol.facts["renderer"] == "none"
    with pytest.raises(RendererError, match="allow_rasterised_drawers=true"):
        planned(simpler(options=options), LOOKS)
    plan = planned(simpler(options={**options, "allow_rasterised_drawers": True}), LOOKS)
    assert plan.protocol.facts["renderer"] == "lavapipe-ibl"
    assert any("rasterised" in note for note in plan.notes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"options": {"sets": "bridge"}}, "Did you mean 'set'"),
        ({"options": {"backend": "maniskill"}}, "Did you mean 'maniskill3'"),
        ({"options": {"trials": "all"}}, "a whole number is wanted"),
        ({"options": {"set": "visual_matching", "backend": "maniskill3"}}, "only the WidowX tasks"),
        ({"sequences": 5}, "benchmark.options.trials"),
        ({"options": {"python": "/nowhere/python"}}, "no interpreter /nowhere/python"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_type(assets, changes, message):
    with pytest.raises(ConfigError, match=message):
        planned(simpler(**changes))


def test_chains_are_refused(assets):
    with pytest.raises(ConfigError, match=r"benchmark\.kind=tasks"):
        simpler(kind="chains")


def test_a_missing_stage_is_named_with_its_source(assets):
    (assets / STAGES / "modern_bedroom_no_roof.glb").unlink()
    with pytest.raises(AssetError, match=r"modern_bedroom_no_roof\.glb; copy it from data/ of https"):
        planned(simpler(options={"set": "variant_aggregation"}))


def test_without_files_the_error_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.delenv("MS2_REAL2SIM_ASSET_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssetError, match="make simpler"):
        planned(simpler(options={"backend": "maniskill3"}))


def test_git_names_are_gits():
    assert git_name(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"  # git hash-object


def test_levels_of_stress_are_planned_or_refused_in_a_sentence(assets: Path):
    """What goes with every benchmark (ablation=stress_anywhere) goes with SimplerEnv; of the rest each says why not."""
    rows = yaml.safe_load((FOLDER / "ablation" / "stress_anywhere.yaml").read_text(encoding="utf-8"))["rows"]
    anywhere = {word.removeprefix("stress=") for words in rows.values() for word in words}
    refused: dict[str, str] = {}
    benchmark = load_config(["benchmark=simpler_bridge", "benchmark.trials=1"]).benchmark
    environment = environment_of(benchmark)
    policy = PolicySpec("p", environment.actions[0])
    plain = plan_of(benchmark, policy, environment)
    for preset in presets("stress"):
        content = yaml.safe_load((FOLDER / "stress" / f"{preset.name}.yaml").read_text(encoding="utf-8"))
        levels = build(Stress, content, "stress")
        try:
            made = stressed(plain, levels, find_family("simpler"), benchmark, policy, environment)
        except ConfigError as error:
            refused[preset.name] = str(error)
        else:
            assert preset.name == "none" or any("stressed, " in note for note in made.notes)
    assert not anywhere & set(refused)
    axes = {name.partition("_")[0] for name in refused}
    assert axes == {"cameras", "clutter", "image", "light", "start", "surfaces", "words"}
    assert {name for name in refused if name.startswith("words")} == {"words_annotated", "words_paraphrase"}
    assert {name for name in refused if name.startswith("image")} >= {"image_black_static", "image_frozen_gripper"}
    for name, said in refused.items():
        assert said.startswith("stress."), name
        assert "SimplerEnv" in said, name
    assert refused["light_turn"].endswith("Axes it has: words, image, cameras (camera_blur), body, time")
