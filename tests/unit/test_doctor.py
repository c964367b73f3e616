"""What the doctor says of a machine: one sentence each, and what to type."""

import resource

import pytest

from vla_bench.bench.cli.main import main
from vla_bench.bench.families import calvin_checks
from vla_bench.bench.machine import checks as machine_checks
from vla_bench.bench.machine import doctor
from vla_bench.envs.errors import EnvironmentFault

CHECKS = {check.what: check.look for check in (*machine_checks.CHECKS, *calvin_checks.CHECKS)}


def test_this_machine_can_run_these_tests():
    for name in ("Python", "open files", "environment variables", "results"):
        assert CHECKS[name]()


@pytest.mark.parametrize("name", ["CALVIN_ASSETS", "SIMPLER_ASSETS"])
def test_a_variable_that_names_no_folder(monkeypatch, name):
    monkeypatch.setenv(name, "/no/such/folder")
    with pytest.raises(EnvironmentFault, match=f"{name}=/no/such/folder is no folder; unset {name}"):
        CHECKS["environment variables"]()


def test_a_package_of_another_version(monkeypatch):
    monkeypatch.setattr(machine_checks, "needed_packages", lambda: ["numpy<1.0", "nowhere>=2", "rich>=1"])
    with pytest.raises(EnvironmentFault, match=r"numpy is .*, <1\.0 is needed; nowhere is missing.*pip install"):
        CHECKS["packages"]()


def test_too_few_open_files(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 4096))
    with pytest.raises(EnvironmentFault, match="ulimit -n 4096"):
        CHECKS["open files"]()


def test_too_little_memory(monkeypatch):
    monkeypatch.setattr(machine_checks, "_available_mb", lambda: 800.0)
    monkeypatch.setattr(machine_checks, "usable_cores", lambda: 8)
    with pytest.raises(EnvironmentFault, match=r"type run\.workers=2"):
        CHECKS["machine"]()


def test_a_simulator_that_dies_does_not_take_the_doctor_with_it(monkeypatch):
    monkeypatch.setattr(calvin_checks.sys, "executable", "/bin/false")
    with pytest.raises(EnvironmentFault, match="ended with code 1"):
        CHECKS["CALVIN, built-in assets"]()


@pytest.mark.parametrize(("needed", "code", "mark"), [(True, 1, "!!"), (False, 0, "--")])
def test_only_what_every_run_needs_makes_it_fail(monkeypatch, capsys, needed, code, mark):
    found = [doctor.Finding("Python", True, "3.11", True), doctor.Finding("thing", False, "type: x", needed)]
    monkeypatch.setattr(doctor, "findings", lambda *_: iter(found))
    assert main(["doctor"]) == code
    assert f"{mark}  thing: type: x" in capsys.readouterr().out
