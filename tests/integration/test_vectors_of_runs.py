"""A run that is listened to has the records of one that is not, bit for bit, and keeps what an extraction finds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("pyarrow")

from vla_bench import bench
from vla_bench.bench.cli.main import main
from vla_bench.bench.errors import ConfigError, UserError
from vla_bench.bench.setup.presets import load_config
from vla_bench.bench.vectors.store import read

TINY = ("benchmark=calvin_smoke", "policy=vla_tiny", "policy.model.chunk=3", "benchmark.step_limit=5")
OWN = '''
import numpy as np
import torch


class Own:
    """Goes where its network says; plans two actions every second time, and plays on."""

    action = "relative"

    def __init__(self):
        torch.manual_seed(0)
        self.net = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 4))

    def reset(self, instruction):
        self.words, self.asked = float(len(instruction)), 0

    def act(self, observation):
        self.asked += 1
        if self.asked % 2:
            with torch.no_grad():
                self.said = self.net(torch.tensor([[self.words, float(np.sin(self.asked))]]))[0].numpy()
        return self.said.astype(float)
'''


def outcomes(folder: Path, *words: str) -> list[dict[str, object]]:
    found = bench.evaluate(load_config([*words, f"run.results={folder}", "run.name=run"]))
    assert [each.status for each in found.records] == ["done"] * len(found.records)
    return [each.outcome() for each in found.records]


def extraction(*words: str) -> dict[tuple[str, int], dict[str, np.ndarray]]:
    folder = Path(words[-1])
    assert main(["vectors", "extract", *words[:-1], "--output", str(folder)]) == 0
    found = read(folder)
    return {
        (row["episode"], row["frame"]): {place: found.vectors(place)[number] for place in found.places}
        for number, row in enumerate(found.rows.to_dict("records"))
    }


@pytest.mark.slow
def test_a_vla_in_two_workers_is_the_same_when_listened_to(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    words = [*TINY, "benchmark.sequences=3", "run.backend=local", "run.workers=2"]
    plain = outcomes(tmp_path / "plain", *words)
    heard = outcomes(tmp_path / "heard", *words, "run.vectors=head,layers", "run.video=all")
    assert plain == heard and len({each["subtasks"][-1]["digest"] for each in heard}) == 3
    run = str(tmp_path / "heard" / "run")
    kept = extraction("--episodes", run, "--samples", "15", str(tmp_path / "kept"))
    places = ["--at", "head", "--at", "layers"]
    again = extraction(*TINY[1:3], "--episodes", run, "--samples", "15", *places, str(tmp_path / "again"))
    assert kept.keys() == again.keys() and len(kept) == 15
    for frame, found in kept.items():
        assert list(found) == list(again[frame]) and len(found) == 3
        for place, vector in found.items():
            assert np.array_equal(vector, again[frame][place])
    about, other = (json.loads((tmp_path / name / "about.json").read_text()) for name in ("kept", "again"))
    assert about["identity"]["content"] == other["identity"]["content"]
    assert about["dtypes"] == other["dtypes"] and set(about["dtypes"].values()) == {"float32"}


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["inline", "local", "ray"])
def test_a_users_policy_is_the_same_wherever_it_is_listened_to(backend: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(OWN)
    words = ["benchmark=fake", "policy._target_=own.py:Own", f"run.backend={backend}", "benchmark.sequences=4"]
    words += ["benchmark.step_limit=7"] + ([] if backend == "inline" else ["run.workers=2"])
    plain = outcomes(Path("plain"), *words, "run.backend=inline", "run.workers=1")  # records do not depend on it
    assert plain == outcomes(Path("heard"), *words, "run.vectors=net.*")
    tried = sum(len(each["subtasks"]) for each in plain)
    assert main(["vectors", "extract", "--episodes", "heard/run", "--samples", str(4 * tried), "--output", "v"]) == 0
    found = read(Path("v"))
    assert found.places == ("net.0", "net.1", "net.2") and found.vectors("net.2").shape == (4 * tried, 4)
    assert found.dtype("net.2") == "float32"
    assert sorted(set(found.rows["frame"])) == [0, 2, 4, 6]  # what is played on is no decision of the network
    np.testing.assert_allclose(np.tanh(found.vectors("net.0")), found.vectors("net.1"), rtol=1e-6)


def test_places_that_are_not_there_end_the_run_before_an_episode(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(OWN)
    words = ["benchmark=fake", "policy._target_=own.py:Own", "run.backend=inline", "run.name=run"]
    with pytest.raises(UserError, match=r"the policy has no module 'ned\.0'\. Did you mean 'net\.0'\?"):
        bench.evaluate(load_config([*words, "run.vectors=ned.0"]))
    with pytest.raises(UserError, match="StubPolicy holds no torch module"):
        bench.evaluate(load_config(["benchmark=fake", "policy=stub", "run.backend=inline", "run.vectors=head"]))
    with pytest.raises(ConfigError, match=r"type run\.inference=child, or drop it"):
        load_config([*words[:2], "run.vectors=net.0", "run.inference=server"])
    with pytest.raises(ConfigError, match=r"run\.vectors: none, or places"):
        load_config([*words, "run.vectors=none,head"])
