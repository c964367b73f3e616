import sys

import pytest

from vla_bench.policies.errors import PolicyError
from vla_bench.policies.registry import find_policy
from vla_bench.policies.user_code import is_path, split

CLASS = "class {name}:\n    def reset(self, instruction): ...\n    def act(self, observation): ...\n"


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = dict(sys.modules)
    yield
    for name in set(sys.modules) - set(before):
        del sys.modules[name]


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["mine.py", "with space.py", "random.py", "numpy.py", "a-b.py", "policies/mine.py"])
def test_a_file_of_any_name_and_place(tmp_path, monkeypatch, name):
    write(tmp_path / name, CLASS.format(name="Mine"))
    monkeypatch.chdir(tmp_path)
    assert find_policy(f"{name}:Mine") is find_policy(f"./{name}:Mine") is find_policy(f"{tmp_path / name}:Mine")
    import random

    assert hasattr(random, "randint")


@pytest.mark.parametrize("package", ["theirs_of_this_test", "policies", "json"])
def test_relative_imports_within_the_users_package(tmp_path, monkeypatch, package):
    write(tmp_path / package / "__init__.py", "")
    write(tmp_path / package / "deep" / "__init__.py", "")
    write(tmp_path / package / "base.py", CLASS.format(name="Base"))
    text = "from ..base import Base\nfrom . import size\nclass Mine(Base):\n    size = size.SIZE\n"
    write(tmp_path / package / "deep" / "mine.py", text)
    write(tmp_path / package / "deep" / "size.py", "SIZE = 3\n")
    monkeypatch.chdir(tmp_path.parent)
    assert find_policy(f"{tmp_path.name}/{package}/deep/mine.py:Mine").size == 3


def test_what_lies_beside_the_file_is_found(tmp_path, monkeypatch):
    write(tmp_path / "x" / "beside_of_this_test.py", "SIZE = 4\n")
    text = "from beside_of_this_test import SIZE\n" + CLASS.format(name="Mine") + "    size = SIZE\n"
    write(tmp_path / "x" / "mine.py", text)
    assert find_policy(f"{tmp_path}/x/mine.py:Mine").size == 4


def test_a_module_of_the_current_directory(tmp_path, monkeypatch):
    write(tmp_path / "module_of_this_test.py", CLASS.format(name="Mine"))
    monkeypatch.chdir(tmp_path)
    assert find_policy("module_of_this_test:Mine") is find_policy("module_of_this_test.Mine")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("mime.py:Mine", r"there is no file .*mime\.py\. Did you mean 'mine.py'"),
        ("mine.py", r"name its class, too: policy=mine\.py:Mine$"),
        ("mine.py:Mien", r"'mine\.py' has no class 'Mien'\. Did you mean 'Mine'"),
        ("broken.py:X", r"cannot be imported: ZeroDivisionError"),
        ("lacks.py:X", r"needs the package 'not_there_at_all', which is not installed"),
        ("older.py:X", r"needs the package 'envs', .* import it as vla_bench\.envs$"),  # what 0.1 was imported as
        ("json.mine:Mine", r"Is it json/mine\.py\? Type policy=json/mine\.py:Mine"),  # Python's json comes first
    ],
)
def test_mistakes_are_told_with_what_to_type(tmp_path, monkeypatch, target, said):
    write(tmp_path / "mine.py", "class Other: ...\n" + CLASS.format(name="Mine"))
    write(tmp_path / "broken.py", "1 / 0\n")
    write(tmp_path / "lacks.py", "import not_there_at_all\n")
    write(tmp_path / "older.py", "from envs import Camera\n")
    monkeypatch.setitem(sys.modules, "envs", None)  # in a checkout the tests' own path has a folder of that name
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "json" / "mine.py", CLASS.format(name="Mine"))
    with pytest.raises(PolicyError, match=said):
        find_policy(target)


def test_words():
    assert split("a.b.C") == ("a.b", "C") and split("a.b:C") == ("a.b", "C") and split("x/y.py") == ("x/y.py", "")
    assert is_path("./x y.py:C") and not is_path("x.py_module.C")
