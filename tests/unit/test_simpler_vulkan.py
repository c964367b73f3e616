"""What is said of Vulkan drivers, without one: the layer, the choice of a driver, the sentences."""

from __future__ import annotations

import dataclasses
import json
import subprocess

import pytest

from vla_bench.envs.errors import RendererError
from vla_bench.envs.simpler import vulkan

LAVAPIPE = vulkan.Device("llvmpipe", True, "llvmpipe Mesa 25.0.7", partially_bound=True, semaphores=False)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("VK_DRIVER_FILES", "VK_ICD_FILENAMES", "VK_INSTANCE_LAYERS", "VK_LAYER_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(vulkan, "has_gpu_driver", lambda: False)
    return tmp_path / "vla-bench" / "vulkan"


def fetched(cache):
    library = cache / "lib"
    library.mkdir(parents=True)
    (library / "libVkLayer_MESA_device_select.so").write_bytes(b"")
    manifest = cache / "lvp_icd.json"
    manifest.write_text(json.dumps({"ICD": {"library_path": str(library / "libvulkan_lvp.so")}}))
    return manifest


def test_a_fetched_driver_is_taken_where_nothing_else_is_named(cache, monkeypatch):
    manifest = fetched(cache)
    assert vulkan.settings(3) == {"VK_DRIVER_FILES": str(manifest), "VK_ICD_FILENAMES": str(manifest)}
    monkeypatch.setenv("VK_ICD_FILENAMES", "/mine.json")
    assert vulkan.settings(3) == {}


def test_a_gpu_driver_is_left_alone(cache, monkeypatch):
    fetched(cache)
    monkeypatch.setattr(vulkan, "has_gpu_driver", lambda: True)
    assert vulkan.settings(3) == {}


def test_sapien_2_gets_the_layer_that_lavapipe_needs(cache, monkeypatch):
    fetched(cache)
    monkeypatch.setenv("VK_INSTANCE_LAYERS", "MINE")
    chosen = vulkan.settings(2, LAVAPIPE)
    assert chosen["VK_INSTANCE_LAYERS"] == f"MINE:{vulkan.LAYER}" and chosen["NODEVICE_SELECT"] == "1"
    (manifest,) = (cache / "layers").glob("*.json")
    layer = json.loads(manifest.read_text())["layer"]
    assert layer["device_extensions"][0]["name"] == vulkan.SEMAPHORES
    assert layer["library_path"] == str(cache / "lib" / "libVkLayer_MESA_device_select.so")
    assert "NODEVICE_SELECT" not in vulkan.settings(3, LAVAPIPE)


def test_a_device_that_has_the_extension_gets_no_layer(cache):
    fetched(cache)
    device = dataclasses.replace(LAVAPIPE, semaphores=True)
    assert "VK_LAYER_PATH" not in vulkan.settings(2, device)


def test_an_old_mesa_is_named_with_what_to_type():
    old = dataclasses.replace(LAVAPIPE, driver="llvmpipe Mesa 22.3.6", partially_bound=False)
    with pytest.raises(RendererError, match=r"Mesa 22\.3\.6 is too old.*doctor --fetch-vulkan"):
        vulkan.check(old)


def test_no_driver_is_a_sentence_and_no_crash(cache):
    with pytest.raises(RendererError, match=r"there is no .*Vulkan (loader|driver|device)"):
        vulkan.probe({"VK_DRIVER_FILES": "/nowhere.json", "VK_ICD_FILENAMES": "/nowhere.json"})


def test_a_driver_that_crashes_takes_only_the_child_down(cache, tmp_path):
    crashing = tmp_path / "python"
    crashing.write_text("#!/bin/sh\necho from the depths >&2\nkill -SEGV $$\n")
    crashing.chmod(0o755)
    with pytest.raises(RendererError, match=r"crashed .*exit code -11, from the depths"):
        vulkan.probe(python=str(crashing))


def test_the_record_names_kind_and_shader():
    assert vulkan.renderer_name(LAVAPIPE, "ibl") == "lavapipe-ibl"
    gpu = dataclasses.replace(LAVAPIPE, software=False)
    assert vulkan.renderer_name(gpu, "rt") == "gpu-rt"


def test_a_driver_is_asked_once(monkeypatch):
    told = json.dumps(dataclasses.asdict(LAVAPIPE))
    asked = []

    def answer(command, **options):
        asked.append(options["env"])
        return subprocess.CompletedProcess(command, 0, stdout=f"{told}\n", stderr="")

    monkeypatch.setattr(vulkan.subprocess, "run", answer)
    vulkan._probed.cache_clear()
    assert vulkan.probe({"VK_A": "1"}) == vulkan.probe({"VK_A": "1"}) == LAVAPIPE and len(asked) == 1
    vulkan.probe({"VK_A": "2"})
    assert len(asked) == 2, "other variables may name another driver"
    vulkan._probed.cache_clear()
