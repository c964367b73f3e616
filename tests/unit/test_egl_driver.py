"""Choosing a GPU for EGL, and what a user reads when EGL does not work."""

from __future__ import annotations

import sys

import pytest

from vla_bench.envs.calvin.renderers import egl_plugin, resolve_renderer
from vla_bench.envs.calvin.renderers.egl_devices import Device, choose_device
from vla_bench.envs.calvin.renderers.egl_plugin import Driver
from vla_bench.envs.errors import RendererError

PCI = ["0000:17:00.0", "0000:65:00.0"]
DEVICES = [
    Device(
        0,
        False,
        "bb" * 16,
        PCI[1],
    ),
    Device(1, False, "aa" * 16, PCI[0]),
    Device(2, True, "", ""),
]
"""EGL lists the GPUs the other way round than nvidia-smi does, and the processor last."""


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ({}, 0),
        ({"CUDA_VISIBLE_DEVICES": ""}, 0),
        ({"CUDA_VISIBLE_DEVICES": "0"}, 1),
        ({"CUDA_VISIBLE_DEVICES": "1,0"}, 0),
        ({"CUDA_VISIBLE_DEVICES": "GPU-aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa"}, 1),
        ({"CUDA_VISIBLE_DEVICES": "GPU-cccccccc-cccc-cccc-cccc-cccccccccccc"}, None),
        ({"CUDA_VISIBLE_DEVICES": "1", "EGL_VISIBLE_DEVICES": "1"}, None),
    ],
)
def test_device_is_found_by_identity(given, chosen):
    assert choose_device(DEVICES, given, PCI) == chosen


def test_no_gpu_leaves_the_choice_to_the_plugin():
    assert choose_device(DEVICES[2:], {}, []) is None


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """Lets a shell script stand in for the child process that tries the driver."""

    def install(script: str) -> None:
        program = tmp_path / "python"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))
        egl_plugin.probe.cache_clear()

    yield install
    egl_plugin.probe.cache_clear()


def test_driver_that_crashes_is_reported_with_what_to_install(driver):
    driver("echo 'loading' >&2; kill -SEGV $$")
    with pytest.raises(RendererError, match=r"ended by signal 11.*libegl1 libgl1-mesa-dri libgles2"):
        resolve_renderer("egl")


def test_driver_that_gives_up_is_reported_with_its_reason(driver):
    driver("echo 'eglInitialize() failed with error: 3008' >&2; exit 1")
    with pytest.raises(RendererError, match=r"failed with error: 3008; exit code 1.*renderer=fast"):
        resolve_renderer("egl")


def test_driver_that_works_is_told(driver):
    driver("printf 'EGL_VISIBLE_DEVICES=1\nGL_VENDOR=Mesa\nGL_RENDERER=llvmpipe (LLVM 15)\nGL_VERSION=4.5\n'")
    found = egl_plugin.probe()
    assert found == Driver("Mesa", "llvmpipe (LLVM 15)", "4.5", "1")
    assert found.software
    assert not Driver("NVIDIA", "NVIDIA H100/PCIe", "4.6", "0").software


def test_machine_without_a_driver_gets_an_error_and_no_crash(monkeypatch):
    """The real child process, told to find no driver; or there is no EGL here at all."""
    monkeypatch.setenv("__EGL_VENDOR_LIBRARY_FILENAMES", "/nonexistent.json")
    egl_plugin.probe.cache_clear()
    with pytest.raises(RendererError, match="apt-get install libegl1"):
        egl_plugin.probe()
    egl_plugin.probe.cache_clear()


def test_unknown_renderer_is_answered_with_the_nearest():
    with pytest.raises(RendererError, match="Did you mean 'fast'"):
        resolve_renderer("fats")
