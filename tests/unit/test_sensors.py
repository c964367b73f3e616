"""What a policy is shown is protocol: it is in the facts and the hash, and refused where it cannot be had."""

from __future__ import annotations

import numpy as np
import pytest

from vla_bench.bench.setup.config import benchmark_from_plain
from vla_bench.bench.setup.plan import plan
from vla_bench.envs import Camera, Sensors
from vla_bench.envs.simulation import environment_spec
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.one_slot import OneSlotPolicy
from vla_bench.policies.registry import checked_spec

CALVIN = environment_spec("calvin")


def spec_with(sensors: object, environment=CALVIN):
    class Looking:
        def reset(self, instruction):
            pass

        def act(self, observation):
            return np.zeros(7)

    Looking.sensors = sensors
    return checked_spec(OneSlotPolicy(Looking(), environment).spec, environment)


def test_a_camera_takes_its_size_by_name_only():
    with pytest.raises(TypeError):
        Camera("static", 224, 224)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("written", "camera"),
    [
        ({"static": (256, 128)}, Camera("static", height=256, width=128)),
        ({"static": 64}, Camera("static", height=64, width=64)),
        ({"static": None}, Camera("static")),
        ({"static": {"width": 64, "depth": True}}, Camera("static", width=64, height=200, depth=True)),
        ({"static": Camera("static", depth=True)}, Camera("static", depth=True)),
        (Camera("gripper"), Camera("gripper")),
        ("gripper", Camera("gripper")),
        ((Camera("static", width=200, height=200),), Camera("static")),
    ],
)
def test_what_is_written_is_what_is_asked_for(written, camera):
    assert spec_with(written).sensors.cameras == (camera,)


@pytest.mark.parametrize(
    "sensors", [("static", "static"), Sensors((Camera("static", width=64), Camera("static", width=200)))]
)
def test_two_cameras_of_one_name_are_refused(sensors):
    with pytest.raises(PolicyError, match="the camera 'static' twice"):
        spec_with(sensors)


@pytest.mark.parametrize("sensors", [{"static": (1, 2, 3)}, {"static": "big"}, {"static": {"wide": 3}}, 3, [3]])
def test_what_is_no_camera_is_refused(sensors):
    with pytest.raises(PolicyError, match="it must be camera names"):
        spec_with(sensors)


def test_a_size_or_depth_that_a_backend_cannot_give_is_refused_before_anything_starts():
    fixed = environment_spec("simpler", {"set": "bridge", "backend": "maniskill3"})
    (camera,) = fixed.cameras
    with pytest.raises(PolicyError, match="renders it at 480 x 640 only"):
        spec_with({camera: (256, 256)}, fixed)
    with pytest.raises(PolicyError, match="leave depth out"):
        spec_with({camera: {"depth": True}}, fixed)
    assert spec_with({camera: (480, 640)}, fixed).sensors == Sensors.of(camera)
    assert spec_with({camera: {"depth": True}}, environment_spec("simpler", {"set": "bridge"}))


def test_cameras_sizes_and_depth_change_the_hash():
    fake = environment_spec("fake")
    benchmark = benchmark_from_plain({"family": "fake", "sequences": 1})

    class Looking:
        sensors: object = ()

        def reset(self, instruction):
            pass

        def act(self, observation):
            return np.zeros(4)

    hashes = []
    for sensors in ((), ("front",), ("front", "wrist"), {"front": 64}, {"front": {"depth": True}}):
        Looking.sensors = sensors
        made = plan(benchmark, OneSlotPolicy(Looking(), fake).spec)
        hashes.append(made.protocol.hash)
    assert len(set(hashes)) == len(hashes)
    assert made.protocol.facts["sensors"] == {"front": {"height": 32, "width": 32, "depth": True}}
    Looking.sensors = {"front": (32, 32)}
    assert plan(benchmark, OneSlotPolicy(Looking(), fake).spec).protocol.hash == hashes[1]
