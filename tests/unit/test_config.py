import dataclasses

import pytest

from vla_bench.bench.errors import ConfigError
from vla_bench.bench.families import family_names, find_family
from vla_bench.bench.protocol import to_plain
from vla_bench.bench.setup.config import GROUPS, Config, config_from_plain, config_to_plain, field_help
from vla_bench.bench.setup.presets import load_config, overridden, presets


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("calvin_abc_d", {"split": "ABC", "assets": "official", "sequences": 1000, "step_limit": 360}),
        ("calvin_abcd_d", {"split": "ABCD", "assets": "official", "sequences": 1000, "scenes": ("D",)}),
        ("calvin_d", {"split": "D", "assets": "official", "sequences": 1000, "kind": "chains"}),
        ("calvin_smoke", {"split": "none", "assets": "builtin"}),
        ("calvin_tasks", {"kind": "tasks", "scenes": ("A", "B", "C", "D"), "tasks": ()}),
        ("fake", {"family": "fake"}),
    ],
)
def test_presets_mean_what_they_say(preset, expected):
    benchmark = load_config([f"benchmark={preset}"]).benchmark
    assert benchmark.name == preset
    found = {**to_plain(benchmark), **to_plain(benchmark.options)}
    assert {name: found[name] for name in expected} == to_plain(expected)


def test_every_preset_has_a_line_of_help_and_can_be_loaded():
    for group in GROUPS:
        for preset in presets(group):
            assert preset.text.endswith("."), preset
            if preset.name != "custom" and group != "stress":  # of one axis each: test_stress.py
                load_config([f"{group}={preset.name}"])


def test_every_field_has_a_line_of_help():
    for cls in GROUPS.values():
        for each in field_help(cls):
            assert each.text.endswith("."), each
            assert "\n" not in each.text


def test_what_is_typed_beats_the_preset():
    config = load_config(
        ["benchmark=calvin_abc_d", "benchmark.sequences=100", "benchmark.assets=builtin", "run.workers=2"]
    )
    assert (config.benchmark.options.sequences, config.benchmark.options.assets, config.run.workers) == (
        100,
        "builtin",
        2,
    )
    assert config.benchmark.options.split == "ABC"


@pytest.mark.parametrize("typed", ["A,B", "[A,B]", "[A, B]"])
def test_lists_need_no_brackets(typed):
    config = load_config(["benchmark=calvin_tasks", f"benchmark.scenes={typed}"])
    assert config.benchmark.options.scenes == ("A", "B")


def test_one_task_and_all_tasks():
    one = load_config(["benchmark=calvin_tasks", "benchmark.tasks=open_drawer"])
    assert one.benchmark.tasks == ("open_drawer",)
    assert load_config(["benchmark=calvin_tasks", "benchmark.tasks=all"]).benchmark.tasks == ()


def test_a_class_of_ones_own_takes_any_argument():
    config = load_config(
        ["policy._target_=my_module:MyPolicy", "policy.path=/a/b.pt", "policy.k=3", "policy.net.layers=1,2"]
    )
    assert config.policy.target == "my_module:MyPolicy"
    assert config.policy.arguments == {"path": "/a/b.pt", "k": 3, "net": {"layers": [1, 2]}}


def test_a_preset_policy_takes_arguments_without_a_plus():
    assert load_config(["policy=replay", "policy.path=a.npz"]).policy.arguments == {"path": "a.npz"}
    assert load_config(["policy=replay", "+policy.path=a.npz"]).policy.arguments == {"path": "a.npz"}


def test_families_take_options():
    config = load_config(["benchmark=fake", "benchmark.options={step_seconds: 0.1, cues: [{do: abort}]}"])
    assert (config.benchmark.options.step_seconds, config.benchmark.options.cues) == (0.1, [{"do": "abort"}])
    for word in ("benchmark.options.history=official", "benchmark.history=official"):
        assert load_config([word]).benchmark.options.history == "official"


def test_an_option_typed_either_way_beats_the_preset():
    for word in ("benchmark.options.trials=5", "benchmark.trials=5", "benchmark.options={trials: 5}"):
        assert load_config(["benchmark=simpler_smoke", word]).benchmark.options.trials == 5
    both = ["benchmark=simpler_smoke", "benchmark.options.trials=5", "benchmark.trials=6"]
    assert load_config(both).benchmark.options.trials == 6
    assert overridden(both) == both[1:2]


@pytest.mark.parametrize("family", family_names())
def test_every_option_of_a_family_has_a_line_of_help(family):
    for each in field_help(find_family(family).options):
        assert each.text.endswith(".") and "\n" not in each.text, each


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["benchmark.family=clavin"], r"no such family\. Did you mean 'calvin'"),
        (["benchmark=simpler_bridge", "benchmark.scenes=A"], r"no meaning in SimplerEnv: the set has its own variants"),
        (["benchmark=simpler_bridge", "benchmark.kind=chains"], r"type benchmark\.kind=tasks"),
        (["benchmark.trials=3"], r"no field 'trials' in CALVIN\. Did you mean"),
    ],
)
def test_what_another_family_has_is_refused(words, message):
    with pytest.raises(ConfigError, match=message):
        load_config(words)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("benchmark=calvn_d", r"no benchmark=calvn_d. Did you mean 'calvin_d'\?"),
        ("policy=exprt", "Did you mean 'expert'"),
        ("policy=custom", "policy._target_=<package.module.Class>"),
        ("polcy=stub", "no group 'polcy'. Did you mean 'policy'"),
        ("sequences=3", r"Did you mean benchmark\.sequences=3\?"),
        ("benchmark.sequnces=3", "benchmark has no field 'sequnces' in CALVIN. Did you mean 'sequences'"),
        ("run.bakend=ray", "Did you mean 'backend'"),
        ("run.backend=rya", "run.backend=rya is not one of ray, local, inline. Did you mean 'ray'"),
        ("benchmark.renderer=elg", "Did you mean 'egl'"),
        ("benchmark.sequences=ten", "benchmark.sequences=ten: a whole number is wanted"),
        ("benchmark.sequences=2.5", "a whole number is wanted"),
        ("benchmark.sequences=true", "a whole number is wanted"),
        ("benchmark.sequences=0", "must be at least 1"),
        ("benchmark.sequences=1001", "there are 1000 sequences"),
        ("benchmark.sequences=1,2", "one value is wanted"),
        ("benchmark.scenes=A", "defined in scene D only.*benchmark=calvin_tasks"),
        ("benchmark.tasks=open_drawer", r"a sequence has its own five.*benchmark=calvin_tasks"),
        ("benchmark.rollouts=3", r"is for tasks, and these are chains: type benchmark\.sequences="),
        ("benchmark.assets=null", "benchmark.assets=null is not one of official, builtin"),
        ("benchmark.options=3", "named values are wanted"),
        ("run.workers=0", "run.workers=0: must be at least 1"),
        ("run.overwrite=yes", "run.overwrite=yes: true or false is wanted"),
        ("run.max_error_rate=2", "a share between 0 and 1"),
        ("run.step_deadline=-1", "more than 0 seconds"),
        ("run.name=../x", "plain folder name"),
        ("run.name=a=b", r"""run\.name='"a=b"'"""),
        ("expert", "'expert': type it as <group>=<preset>"),
        ("~policy", "type it as"),
        ("benchmark@x=fake", "only <group>=<preset> and"),
        ("policy.arguments.x=1", r"policy\.<argument>=<value>"),
    ],
)
def test_mistakes_name_the_nearest_valid_word(typed, message):
    with pytest.raises(ConfigError, match=message):
        load_config([typed])


def test_a_number_of_sequences_means_nothing_to_a_task_suite():
    with pytest.raises(ConfigError, match=r"is for chains, and these are tasks: type benchmark\.rollouts="):
        load_config(["benchmark=calvin_tasks", "benchmark.sequences=3"])


@pytest.mark.parametrize("word", ["policy.x=nan", "policy.x={y: [1, inf]}", "benchmark.options={x: -inf}"])
def test_what_cannot_be_written_down_is_refused(word):
    with pytest.raises(ConfigError, match=r"x.*=-?(nan|inf): a finite number is wanted"):
        load_config(["policy=stub", word])


def test_joining_a_cluster_needs_ray():
    with pytest.raises(ConfigError, match=r"run\.address names a Ray cluster"):
        load_config(["run.address=auto", "run.backend=local"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run.gpu_share=1.5"], r"run\.gpu_share: a share of 1, or a number of whole GPUs, got 1\.5"),
        (["run.gpu_share=-1"], "a share of 1"),
        (["run.gpu_share=0.5", "run.backend=local"], r"type run\.backend=ray"),
        (["run.gpu_share=0.5", "run.inference=server", "run.servers=2"], r"drop run\.servers"),
    ],
)
def test_gpus_that_cannot_be_reserved(words, message):
    with pytest.raises(ConfigError, match=message):
        load_config(words)


def test_joining_a_cluster_needs_a_number_of_workers():
    with pytest.raises(ConfigError, match=r"run\.workers=<n>"):
        load_config(["run.address=auto"])


def test_of_a_word_typed_twice_the_last_counts():
    typed = ["benchmark.sequences=5", "benchmark=fake", "benchmark=calvin_d", "benchmark.sequences=7", "policy=expert"]
    assert overridden([*typed, "policy=stub", "policy=stub"]) == [*typed[:2], "policy=expert"]
    found = load_config([*typed, "policy=x/my file.py:Mine", "policy.size=3"])
    assert (found.benchmark.name, found.benchmark.options.sequences) == ("calvin_d", 7)
    assert (found.policy.target, found.policy.arguments) == ("x/my file.py:Mine", {"size": 3})
    assert load_config([*typed, "policy=a.B", "policy=stub"]).policy.target == "stub"


@pytest.mark.parametrize(
    "path", ["my_module.MyPolicy", "a.b:C", "./x.py:P", "o'brien/x.py:P", "a=b (1)/{x}, y.py:P", "~/p.py:P"]
)
def test_a_class_is_typed_as_a_policy(path):
    assert load_config([f"policy={path}"]).policy.target == path
    assert load_config([f"policy._target_={path}"]).policy.target == path


def test_a_scene_there_is_not():
    with pytest.raises(ConfigError, match="no scene 'E'"):
        load_config(["benchmark=calvin_tasks", "benchmark.scenes=A,E"])


def test_presets_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config(["benchmark=calvin_d"]).benchmark.options.split == "D"
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_survives_being_written_down():
    config = load_config(["benchmark=calvin_tasks", "policy._target_=a.B", "policy.x.y=1", "run.name=n"])
    plain = config_to_plain(config)
    assert plain["policy"] == {"_target_": "a.B", "x": {"y": 1}}
    assert config_from_plain(plain) == config
    assert config_from_plain({}) == Config()


def test_configurations_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().run.seed = 3
