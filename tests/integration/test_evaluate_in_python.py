"""vla_bench.evaluate with every form of a policy, on the toy environment."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

import vla_bench
from vla_bench.bench.errors import ConfigError, PolicyError, ResultSetError, UserError

FAKE = {"benchmark": "fake", "sequences": 4, "progress": False}


class Steady:
    """Goes one way; solves what lies there."""

    action = "relative"
    execute = 4

    def __init__(self, direction=1.0):
        self.direction = direction
        self.asked = 0

    def reset(self, instruction):
        self.sign = {"go up": 1.0, "go down": -1.0}.get(instruction, 0.0)

    def act(self, observation):
        self.asked += 1
        return np.tile(np.array([0.0, 0.0, self.sign, self.direction]), (4, 1))


def records(results):
    return [(each.episode, each.chain_length, [(s.steps, s.digest) for s in each.subtasks]) for each in results.records]


def test_class_instance_name_and_path_are_one_policy(tmp_path):
    ways = {
        "class": (Steady, {"backend": "local", "workers": 2}),
        "instance": (Steady(), {"workers": 2}),
        "instance, one worker here": (Steady(), {"backend": "inline"}),
        "path": (f"{__file__}:Steady", {"backend": "local", "workers": 1}),
    }
    made = {
        name: vla_bench.evaluate(policy, **FAKE, **fields, results=tmp_path / name, seed=3)
        for name, (policy, fields) in ways.items()
    }
    first = records(made["class"])
    assert len(first) == 4 and any(length for _, length, _ in first)
    assert all(records(each) == first for each in made.values())
    other = vla_bench.evaluate(
        Steady, **FAKE, arguments={"direction": -1.0}, backend="inline", results=tmp_path, seed=3
    )
    assert records(other) != first


def test_an_instance_is_left_as_it_was_and_each_of_its_moments_has_results_of_its_own(tmp_path):
    policy = Steady()
    before = vla_bench.evaluate(policy, **FAKE, workers=1, results=tmp_path)
    assert policy.asked == 0 and not hasattr(policy, "sign")
    again = vla_bench.evaluate(policy, **FAKE, workers=1, results=tmp_path)
    assert again.folder == before.folder and len(list(tmp_path.glob("fake-*"))) == 1
    policy.direction = -1.0
    after = vla_bench.evaluate(policy, **FAKE, workers=1, results=tmp_path)
    assert after.folder != before.folder and records(after) != records(before)
    with pytest.raises(ResultSetError, match="state of Steady"):
        policy.direction = 0.5
        vla_bench.evaluate(policy, **FAKE, workers=1, results=tmp_path, name=before.folder.name)


def test_weights_of_this_moment_are_evaluated(tmp_path):
    torch = pytest.importorskip("torch")

    class Learned:
        action = "relative"

        def __init__(self):
            self.network = torch.nn.Linear(1, 4)

        def reset(self, instruction):
            assert not torch.is_grad_enabled()  # the caller's thread decides, as the caller left it

        def act(self, observation):
            return self.network(torch.zeros(1)).numpy()

    policy = Learned()
    ran = []
    for push in (0.0, 1.0):
        with torch.no_grad():
            policy.network.bias[:] = torch.tensor([0.0, 0.0, push, 1.0])
            ran.append(vla_bench.evaluate(policy, **FAKE, workers=2, results=tmp_path))
    assert records(ran[0]) != records(ran[1])
    assert policy.network.bias.requires_grad


def test_a_script_s_own_class_and_a_notebook_s_go_to_the_workers(tmp_path):
    script = """
        import numpy as np, vla_bench
        LIFT = {lift}
        class Notebook:
            def reset(self, instruction): pass
            def act(self, observation): return np.array([0.0, 0.0, LIFT, 1.0])
        if __name__ == "__main__":
            results = vla_bench.evaluate(Notebook, benchmark="fake", sequences=2, workers=1, backend="local",
                                         results=r"{folder}", progress=False)
            print(sum(record.chain_length for record in results.records))
    """

    def run(lift, *how):
        text = textwrap.dedent(script).format(lift=lift, folder=tmp_path)
        (tmp_path / "script.py").write_text(text)
        words = {"file": ["script.py"], "typed": ["-c", text]}[how[0]]
        return subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, timeout=100)

    first = run(1.0, "file")
    assert first.returncode == 0, first.stderr
    assert run(1.0, "typed").stdout == first.stdout
    edited = run(-1.0, "file")
    assert edited.returncode != 0 and "code of Notebook" in edited.stderr


@pytest.mark.parametrize(
    ("policy", "fields", "said"),
    [
        (Steady(), {"arguments": {"direction": 2}}, "built already"),
        (Steady(), {"backend": "ray", "address": "auto", "workers": 1}, "this machine"),
        (object(), {}, "has no method 'reset'"),
        (Steady, {"steps": 3}, "no field 'steps'"),
        ("no_such_policy", {}, "there is no policy=no_such_policy"),
    ],
)
def test_mistakes_are_told_before_anything_runs(tmp_path, policy, fields, said):
    with pytest.raises(UserError) as error:
        vla_bench.evaluate(policy, **{**FAKE, "results": tmp_path, **fields})
    assert said in str(error.value)
    assert not list(tmp_path.glob("fake-*"))


def test_a_policy_s_own_mistake_is_an_error_of_the_run(tmp_path):
    class Broken(Steady):
        def act(self, observation):
            return None

    with pytest.raises(UserError, match="returned None"):
        vla_bench.evaluate(Broken(), **FAKE, workers=1, results=tmp_path)
    assert issubclass(PolicyError, UserError) and issubclass(ConfigError, UserError)
