"""Choosing frames, listening to policies, and extractions on disk."""

from __future__ import annotations

import errno
from collections import Counter
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pandas
import pytest
from extractions import write_extraction

from vla_bench.bench.errors import ConfigError
from vla_bench.bench.families.calvin_frames import CalvinFrames
from vla_bench.bench.vectors.comparison import compare
from vla_bench.bench.vectors.extraction import extract, heard
from vla_bench.bench.vectors.frames import Seen
from vla_bench.bench.vectors.sampling import Episode, allocate, make_plan, strata_of
from vla_bench.bench.vectors.store import VECTORS, Extraction, VectorsError, Writer, common_places, read
from vla_bench.envs.observation import Sensors
from vla_bench.envs.simulation import environment_spec
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.listening import Listener
from vla_bench.policies.stub import StubPolicy

EPISODES = [
    Episode(f"{n:03d}", 100 * n, 30 + n % 7, "open_drawer" if n % 4 else "push", "do it", "AB"[n % 2])
    for n in range(80)
]


def test_frames_are_as_the_episodes_are_and_by_the_seed():
    plan = make_plan(EPISODES, 40, ("task", "scene"), seed=3)
    assert Counter(each.episode.task for each in plan.samples) == {"open_drawer": 30, "push": 10}
    assert len({(each.episode.name, each.frame) for each in plan.samples}) == 40
    assert all(0 <= each.frame - each.episode.first < each.episode.length and each.reason for each in plan.samples)
    assert plan == make_plan(EPISODES, 40, ("task", "scene"), seed=3)
    assert plan.samples != make_plan(EPISODES, 40, ("task", "scene"), seed=4).samples
    equal = make_plan(EPISODES, 40, ("task",), allocation="equal")
    assert [each.samples for each in equal.strata] == [20, 20]


def test_all_frames_can_be_chosen_and_no_more():
    there = sum(each.length for each in EPISODES)
    assert len({(s.episode.name, s.frame) for s in make_plan(EPISODES, there, ("task",)).samples}) == there
    with pytest.raises(ConfigError, match=f"the source has {there} frames"):
        make_plan(EPISODES, there + 1, ())
    assert sum(allocate({"a": 5, "b": 1, "c": 1}, 9, {"a": 2, "b": 9, "c": 9}).values()) == 9
    with pytest.raises(ConfigError, match="Did you mean 'task'"):
        strata_of("taks", success=False)
    with pytest.raises(ConfigError, match="does not say what succeeded"):
        strata_of("success", success=False)


ABOUT = {"identity": {"policy": "p", "frames": "f"}}


def rows(first, count):
    return [
        {"episode": "e", "frame": n, "task": "t", "position": 0.5, "faithful": True}
        for n in range(first, first + count)
    ]


def test_an_extraction_goes_on_where_it_was_cut_off(tmp_path):
    vectors = np.arange(24, dtype=np.float32).reshape(6, 1, 4)
    writer = Writer(tmp_path, ABOUT, 6)
    writer.add({"head": vectors[:4]}, rows(0, 4))
    writer.close()
    with pytest.raises(VectorsError, match="is not finished"):
        read(tmp_path)
    with pytest.raises(VectorsError, match="holds another extraction \\(its frames differ\\)"):
        Writer(tmp_path, {"identity": {"policy": "p", "frames": "g"}}, 6)
    with (tmp_path / "rows.jsonl.part").open("ab") as file:
        file.write(b'{"torn')
    again = Writer(tmp_path, ABOUT, 6)
    assert again.done == 4
    again.add({"head": vectors[4:]}, rows(4, 2))
    again.finish()
    found = read(tmp_path)
    np.testing.assert_array_equal(found.vectors("head"), vectors)
    assert list(found.rows["frame"]) == list(range(6))
    with pytest.raises(VectorsError, match="Did you mean 'head'"):
        found.vectors("haed")
    content = (tmp_path / VECTORS).read_bytes()
    (tmp_path / VECTORS).write_bytes(content[:-5])
    with pytest.raises(VectorsError, match="was cut off"):
        read(tmp_path)


def test_vectors_that_are_not_finite_are_refused(tmp_path):
    vectors = np.ones((3, 2), np.float32)
    vectors[1, 0] = np.nan
    writer = Writer(tmp_path, ABOUT, 3)
    writer.add({"head": vectors}, rows(0, 3))
    writer.finish()
    with pytest.raises(VectorsError, match="1 of 3 vectors at head are not finite, the first at episode e, frame 1"):
        read(tmp_path).vectors("head")


def test_a_full_disk_is_a_sentence(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full, raising=False)
    with pytest.raises(VectorsError, match="is full; free some room"):
        Writer(tmp_path, ABOUT, 3).add({"head": np.ones((3, 2), np.float32)}, rows(0, 3))


def test_a_policy_without_torch_is_refused():
    from vla_bench.envs.simulation import environment_spec
    from vla_bench.policies.listening import modules_of

    with pytest.raises(PolicyError, match="holds no torch module"):
        modules_of(StubPolicy(environment_spec("fake", {})))


def test_listening_hears_what_the_head_reads_and_changes_nothing():
    pytest.importorskip("transformers")
    from vla_models import engine, observation

    from vla_bench.policies.listening import listening

    class Wrapped:
        def __init__(self):
            self._engine = engine("policy_head_lstm")

    def decided(policy):
        policy._engine.reset(0, "push")
        return [policy._engine.act([0], [seen]) for seen in map(observation, (1, 2))]

    policy = Wrapped()
    before = decided(policy)
    hooks = {name: len(module._forward_hooks) for name, module in policy._engine.model.named_modules()}
    with listening(policy, ["model.act_head", "layers"]) as listener:
        heard = decided(policy)
        found = listener.take(1)
    np.testing.assert_array_equal(before, heard)
    expected = policy._engine.last(0)["features"][-1]
    np.testing.assert_array_equal(found["head"].reshape(-1), expected.float().numpy())
    assert hooks == {name: len(module._forward_hooks) for name, module in policy._engine.model.named_modules()}
    assert "features" not in vars(policy._engine.model) and "readout" not in vars(policy._engine.model)
    np.testing.assert_array_equal(before, decided(policy))
    with pytest.raises(PolicyError, match=r"Did you mean 'model\.act_head'"), listening(policy, ["model.act_heat"]):
        pass


def test_what_was_cut_off_ends_in_the_same_bytes(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    for name, steps in (("whole", [(0, 7)]), ("cut", [(0, 2), (2, 5), (5, 7)])):
        for first, last in steps:
            writer = Writer(tmp_path / name, ABOUT, 7)
            assert writer.done == first
            writer.add({"head": vectors[first:last]}, rows(first, last - first))
            writer.close()
        Writer(tmp_path / name, ABOUT, 7).finish()
    for file in (VECTORS, "rows.parquet"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "cut" / file).read_bytes()


def test_extractions_that_do_not_go_together_are_refused(tmp_path):
    first, other = (read(write_extraction(tmp_path / name, frames=name)) for name in "ab")
    with pytest.raises(VectorsError, match="are extractions of other frames; extract both with the same --data"):
        compare(first, other, "head")
    elsewhere = Extraction(other.folder, {**other.about, "places": {"layer": [1]}}, other.rows)
    with pytest.raises(VectorsError, match="no place in common: head and layer; extract both with the same --at"):
        common_places([first, elsewhere])
    content = (tmp_path / "a" / "rows.parquet").read_bytes()
    (tmp_path / "a" / "rows.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(VectorsError, match=r"rows\.parquet is missing, cut off or damaged; extract again"):
        read(tmp_path / "a")
    with pytest.raises(VectorsError, match="holds no extraction"):
        read(tmp_path / "nowhere")


def test_a_damaged_file_is_a_sentence(tmp_path):
    def damaged(name, file, change):
        content = (write_extraction(tmp_path / name) / file).read_bytes()
        (tmp_path / name / file).write_bytes(change(content))
        return tmp_path / name

    with pytest.raises(VectorsError, match=r"vectors\.safetensors is damaged"):
        read(damaged("a", VECTORS, lambda content: content[:12] + b"x" + content[13:]))
    with pytest.raises(VectorsError, match=r"about\.json is damaged"):
        read(damaged("b", "about.json", lambda content: b"[1]"))
    with pytest.raises(VectorsError, match=r"about\.json is damaged"):
        read(damaged("c", "about.json", lambda content: content.replace(b"identity", b"identitx")))
    extraction = write_extraction(tmp_path / "d")
    pandas.read_parquet(extraction / "rows.parquet").drop(columns="task").to_parquet(extraction / "rows.parquet")
    with pytest.raises(VectorsError, match=r"rows\.parquet is missing, cut off or damaged"):
        read(extraction)


def test_a_data_set_without_the_camera_is_refused():
    frames = object.__new__(CalvinFrames)
    frames.name, frames._data = "packed", SimpleNamespace(shapes={"rgb_static": (8, 8, 3), "robot_obs": (15,)})
    frames.check(Sensors.of("static"))
    with pytest.raises(ConfigError, match=r"packed has no camera 'gripper', which .* it has static"):
        frames.check(Sensors.of("static", "gripper"))


def test_a_policy_that_fails_is_told_in_a_sentence(tmp_path):
    class Broken(StubPolicy):
        def act(self, slots, observations):
            raise ValueError("no such shape")

    policy = Broken(environment_spec("fake", {}))
    sample = make_plan(EPISODES, 1, ()).samples[0]
    with pytest.raises(
        PolicyError, match=r"failed when it was shown frame \d+ of episode \d+: ValueError: no such shape"
    ):
        heard(policy, Listener(["net"]), [Seen(sample, ({},))])


def test_an_extraction_that_has_not_begun_to_write_is_not_finished(tmp_path):
    Writer(tmp_path, {"identity": {"policy": "p", "content": "of before a mistake was mended"}}, 3).close()
    Writer(tmp_path, ABOUT, 3).close()
    with pytest.raises(VectorsError, match="is not finished; the command that began it goes on"):
        read(tmp_path)


class Network:
    """A policy with a network whose module ``inner`` returns what ``returned`` makes of (B, 4) numbers."""

    def __init__(self, returned, dtype="float32"):
        import torch

        class Inner(torch.nn.Module):
            def forward(self, x):
                return returned(x)

        self.spec = StubPolicy(environment_spec("fake", {})).spec
        self.model = torch.nn.Module()
        self.model.inner = Inner()
        self._dtype = getattr(torch, dtype)

    def reset(self, slot, instruction, context):
        pass

    def act(self, slots, observations):
        import torch

        self.model.inner(torch.stack([torch.as_tensor(each["state"]) for each in observations]).to(self._dtype))
        return [None] * len(slots)


class Frames:
    """Shows frames whose number is in their state."""

    digest = "d"

    def seen(self, samples, sensors, history, stride):
        for sample in samples:
            yield Seen(sample, ({"state": np.arange(4, dtype=np.float32) + sample.frame},))


def extracted(folder, policy, count=7, batch=4):
    plan = make_plan(EPISODES, count, ())
    writer, notes = Writer(folder, ABOUT, count), []
    extract(policy, Frames(), plan, writer, ["model.inner"], batch=batch, history=1, stride=1, on_note=notes.append)
    shown = np.stack([np.arange(4, dtype=np.float32) + each.frame for each in plan.samples])
    return read(folder), shown, notes


@dataclass
class Output:
    loss: object
    state: object


RETURNED = {
    "a tensor": lambda x: x,
    "a tuple": lambda x: (x, None),
    "a tuple in a tuple": lambda x: ((x, x + 1), x + 2),
    "a mapping that begins with a loss": lambda x: {"loss": x.sum(), "mask": x > 0, "hidden": x},
    "a dataclass": lambda x: Output(x.sum(), [x]),
    "ids alone": lambda x: (x.long(),),
    "three axes": lambda x: x[:, None].expand(-1, 3, -1),
}


@pytest.mark.parametrize("kind", RETURNED)
def test_whatever_a_module_returns_its_tensor_is_heard(tmp_path, kind):
    pytest.importorskip("torch")
    found, shown, notes = extracted(tmp_path, Network(RETURNED[kind]))
    np.testing.assert_array_equal(found.vectors("model.inner"), shown)
    assert not notes


def test_outputs_of_transformers_are_mappings(tmp_path):
    outputs = pytest.importorskip("transformers.modeling_outputs")
    made = lambda x: outputs.CausalLMOutput(loss=x.sum(), logits=x)  # noqa: E731
    found, shown, _ = extracted(tmp_path, Network(made))
    np.testing.assert_array_equal(found.vectors("model.inner"), shown)


def test_a_module_without_a_tensor_is_told():
    pytest.importorskip("torch")
    from vla_bench.policies.listening import listening

    network = Network(lambda x: {"n": 3, "loss": x.sum()})
    with (
        pytest.raises(PolicyError, match=r"'model.inner' returns a dict without a tensor; listen to a module inside"),
        listening(network, ["model.inner"]),
    ):
        network.act([0], [{"state": np.ones(4, np.float32)}])
    assert not network.model.inner._forward_hooks


def test_half_precision_is_kept_as_float32_and_said(tmp_path):
    pytest.importorskip("torch")
    found, shown, _ = extracted(tmp_path, Network(lambda x: x / 3, "bfloat16"))
    vectors = found.vectors("model.inner")
    assert vectors.dtype == np.float32 and found.dtype("model.inner") == "bfloat16"
    np.testing.assert_allclose(vectors, shown / 3, rtol=0.02)


def test_what_overflows_is_told_while_it_is_extracted_and_refused_afterwards(tmp_path):
    pytest.importorskip("torch")
    found, _, notes = extracted(tmp_path, Network(lambda x: x * 6e4, "float16"))
    assert (
        len(notes) == 1 and "model.inner is not finite: the policy overflows there (it computes in float16)" in notes[0]
    )
    with pytest.raises(VectorsError, match=r"7 of 7 vectors at model.inner are not finite.*computes in float16"):
        found.vectors("model.inner")


def test_a_module_with_another_axis_first_is_shown_frames_alone(tmp_path):
    """As torch's LSTM: of four frames and four tokens nothing in the shape says so."""
    pytest.importorskip("torch")
    found, shown, notes = extracted(tmp_path, Network(lambda x: x[None].expand(4, -1, -1) + 0.0), batch=4)
    np.testing.assert_array_equal(found.vectors("model.inner"), shown)
    assert notes == ["of frames shown together the policy holds other vectors, so each is shown alone"]
