import os

import pytest

from vla_bench.bench.dispatch import ray_session
from vla_bench.bench.errors import ConfigError


def test_a_folder_too_long_for_sockets_is_told_with_its_room(monkeypatch, tmp_path):
    long = tmp_path / ("x" * 100)
    monkeypatch.setenv("RAY_TMPDIR", str(long))
    with pytest.raises(ConfigError, match=r"RAY_TMPDIR=.*x is too long.*at most \d+ bytes, such as /tmp"):
        ray_session.start_here(1)


@pytest.mark.parametrize(
    ("variable", "said"), [("RAY_TMPDIR", "cannot write to /proc"), ("HOME", "HOME=/proc is not a folder that you may")]
)
def test_a_folder_that_cannot_be_written_to_is_named(monkeypatch, variable, said):
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    monkeypatch.setenv(variable, "/proc")
    with pytest.raises(ConfigError, match=said):
        ray_session.start_here(1)


@pytest.mark.parametrize("address", ["http://10.0.0.1:8265", "https://head.example/x"])
def test_the_dashboards_address_is_known_as_such(address):
    with pytest.raises(ConfigError, match=r"dashboard.*run\.address=\S+:6379.*ray://\S+:10001"):
        ray_session.join(address)


@pytest.mark.parametrize("before", [None, "pudb.set_trace"])
def test_the_environment_stays_what_it_was(monkeypatch, before):
    monkeypatch.delenv("PYTHONBREAKPOINT", raising=False)
    monkeypatch.delenv(ray_session.NO_STACKS, raising=False)
    if before:
        monkeypatch.setenv("PYTHONBREAKPOINT", before)
    with ray_session._environment_kept():
        assert os.environ[ray_session.NO_STACKS] == "1"
        os.environ["PYTHONBREAKPOINT"] = "ray.util.rpdb._driver_set_trace"
    assert os.environ.get("PYTHONBREAKPOINT") == before
    assert ray_session.NO_STACKS not in os.environ
