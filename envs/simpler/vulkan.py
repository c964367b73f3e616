"""Finds a Vulkan driver that sapien can use, and says what is wrong when there is none.

Both sapien versions end the process, without a word, when there is no usable device. So the driver is
looked at in a child process first (:mod:`vla_bench.envs.simpler.vulkan_probe`), and :func:`prepare` raises a
sentence instead. It sets the variables that Vulkan reads in the calling process, before sapien is
imported there, so nothing has to be exported on any node.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from vla_bench import start
from vla_bench.envs.errors import RendererError
from vla_bench.program import program

LAYER = "VK_LAYER_VLA_BENCH_semaphore_fd"
SEMAPHORES = "VK_KHR_external_semaphore_fd"
"""sapien 2 insists on this extension, which lavapipe lacks and sapien does not use without CUDA."""
PROBE_SECONDS = 60.0
_LIBRARY_FOLDERS = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/nvidia/lib64",
)

Sapien = Literal[2, 3]


def fetch_command() -> str:
    """The command that brings a software driver, without root and without touching the system's."""
    return f"{program()} doctor --fetch-vulkan"


@dataclass(frozen=True, slots=True)
class Device:
    """The device that would be used."""

    name: str
    """As the driver says, e.g. ``llvmpipe (LLVM 15.0.6, 256 bits)``."""
    software: bool
    driver: str
    """Driver and version, e.g. ``llvmpipe Mesa 25.0.7``."""
    partially_bound: bool
    """``descriptorBindingPartiallyBound``: both sapien versions need it; Mesa before 23 lacks it."""
    semaphores: bool
    """Whether it has :data:`SEMAPHORES`."""

    @property
    def kind(self) -> str:
        """``lavapipe`` (any software driver) or ``gpu``: what a protocol records."""
        return "lavapipe" if self.software else "gpu"


def renderer_name(device: Device, shader: str) -> str:
    """What a protocol records of the renderer, e.g. ``lavapipe-ibl``."""
    return f"{device.kind}-{shader}"


def cache_folder() -> Path:
    """Where a fetched software driver lies."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "vla-bench" / "vulkan"


def settings(sapien: Sapien, device: Device | None = None) -> dict[str, str]:
    """Variables to set for Vulkan, on top of those the user has set.

    A driver that was fetched is taken where the user names none and the system has no GPU driver. With
    the device known, sapien 2 gets the layer that advertises what lavapipe lacks.
    """
    chosen: dict[str, str] = {}
    fetched = cache_folder() / "lvp_icd.json"
    named = os.environ.get("VK_DRIVER_FILES") or os.environ.get("VK_ICD_FILENAMES")
    if not named and fetched.is_file() and not has_gpu_driver():
        chosen |= {"VK_DRIVER_FILES": str(fetched), "VK_ICD_FILENAMES": str(fetched)}
        named = str(fetched)
    if sapien == 2 and device is not None and not device.semaphores and device.software:
        library = _layer_library(named)
        if library is None:
            raise RendererError(
                "sapien 2 cannot use this software Vulkan: its layer libVkLayer_MESA_device_select.so is not "
                f"beside the driver; type: {fetch_command()}"
            )
        others = [each for each in os.environ.get("VK_INSTANCE_LAYERS", "").split(":") if each]
        chosen |= {
            "VK_LAYER_PATH": os.pathsep.join(
                filter(None, [str(write_layer(library).parent), os.environ.get("VK_LAYER_PATH", "")])
            ),
            "VK_INSTANCE_LAYERS": ":".join([*others, LAYER] if LAYER not in others else others),
            "NODEVICE_SELECT": "1",  # the library's own selection hangs without a display
        }
    return chosen


def has_gpu_driver() -> bool:
    """Whether a driver manifest of a GPU maker is installed and a GPU is there to serve it."""
    gpu = Path("/dev/nvidiactl").exists() or any(Path("/dev/dri").glob("renderD*"))
    folders = ("/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d")
    manifests = [path for folder in folders for path in Path(folder).glob("*.json")]
    return gpu and any("lvp" not in path.name for path in manifests)


def probe(variables: Mapping[str, str] | None = None, python: str = "") -> Device:
    """Asks the driver in a child process.

    Raises:
        RendererError: no loader, no driver or no device; says which packages bring them.
    """
    return _probed(tuple(sorted({**os.environ, **(variables or {}), "PYTHONSAFEPATH": "1"}.items())), python)


@lru_cache(maxsize=8)
def _probed(variables: tuple[tuple[str, str], ...], python: str) -> Device:
    """A driver is asked once for the same variables; what went wrong is not remembered."""
    environment = dict(variables)
    command = start.command("vla_bench.envs.simpler.vulkan_probe", *loader_paths(), python=python)
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=PROBE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise RendererError(f"the Vulkan driver does not answer within {PROBE_SECONDS:g} s; {_other()}") from None
    try:
        found: dict[str, Any] = json.loads(done.stdout.strip().rpartition("\n")[2])
    except ValueError:
        last = done.stderr.strip().rpartition("\n")[2]
        raise RendererError(
            f"the Vulkan driver crashed when it was asked for its devices (exit code {done.returncode}"
            f"{', ' + last if last else ''}); {_other()}"
        ) from None
    if "error" in found:
        raise RendererError(f"{found['error']}; {_other()}")
    return Device(**found)


def check(device: Device) -> None:
    """RendererError when neither sapien version could use the device."""
    if not device.partially_bound:
        raise RendererError(
            f"{device.driver} is too old for sapien (descriptorBindingPartiallyBound is missing; Debian 12's "
            f"Mesa 22.3.6 has the fault, 25.0.7 from its backports does not); {_other()}"
        )


def prepare(sapien: Sapien) -> Device:
    """Makes Vulkan ready in this process, before sapien is imported, and says what device it is.

    Raises:
        RendererError: there is none that sapien could use.
    """
    os.environ.update(settings(sapien))
    device = probe()
    check(device)
    os.environ.update(settings(sapien, device))
    os.environ.setdefault("LP_NUM_THREADS", "1")  # lavapipe: one core per worker, as for everything else
    load_loader()
    return device


def load_loader() -> None:
    """Loads a fetched Vulkan loader: sapien asks for it by its plain name, which is then already there."""
    for path in loader_paths():
        ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)


def loader_paths() -> list[str]:
    """A fetched Vulkan loader, where the system has none of its own."""
    fetched = cache_folder() / "lib/libvulkan.so.1"
    if not fetched.is_file() or os.environ.get("LD_LIBRARY_PATH", "").find(str(fetched.parent)) >= 0:
        return []
    there = any((Path(folder) / "libvulkan.so.1").exists() for folder in _LIBRARY_FOLDERS)
    return [] if there else [str(fetched)]


def has_denoiser() -> bool:
    """Whether NVIDIA's OptiX, which denoises path-traced pictures, is on this machine."""
    return any((Path(folder) / "libnvoptix.so.1").exists() for folder in _LIBRARY_FOLDERS)


def write_layer(library: Path) -> Path:
    """Writes the manifest of a layer without code: the library is Mesa's, the extension is advertised."""
    import tempfile

    manifest = {
        "file_format_version": "1.0.0",
        "layer": {
            "name": LAYER,
            "type": "GLOBAL",
            "library_path": str(library),
            "api_version": "1.3.211",
            "implementation_version": "1",
            "description": f"advertises {SEMAPHORES}, which sapien 2 asks for and lavapipe lacks",
            "functions": {"vkNegotiateLoaderLayerInterfaceVersion": "vkNegotiateLoaderLayerInterfaceVersion"},
            "device_extensions": [
                {
                    "name": SEMAPHORES,
                    "spec_version": "1",
                    "entrypoints": ["vkImportSemaphoreFdKHR", "vkGetSemaphoreFdKHR"],
                }
            ],
        },
    }
    text = json.dumps(manifest, indent=2) + "\n"
    temporary = Path(tempfile.gettempdir()) / f"vla-bench-layers-{os.getuid()}"
    for folder in (cache_folder() / "layers", temporary):
        path = folder / "semaphore_fd.json"
        try:
            if path.is_file() and path.read_text() == text:
                return path
            folder.mkdir(parents=True, exist_ok=True)
            partial = folder / f".{os.getpid()}.json"
            partial.write_text(text)
            partial.replace(path)
        except OSError:
            continue
        return path
    raise RendererError(f"cannot write a Vulkan layer manifest into {cache_folder()} or {tempfile.gettempdir()}")


def _layer_library(manifests: str | None) -> Path | None:
    name = "libVkLayer_MESA_device_select.so"
    folders = [Path(folder) for folder in _LIBRARY_FOLDERS]
    for manifest in (manifests or "").split(os.pathsep):
        try:
            driver = Path(json.loads(Path(manifest).read_text())["ICD"]["library_path"])
        except (OSError, ValueError, KeyError):
            continue
        folders.insert(0, driver.parent)
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def _other() -> str:
    return (
        f"type: {fetch_command()}   (a software driver, no root needed; with root: apt-get install -t "
        "bookworm-backports mesa-vulkan-drivers libvulkan1), or install the driver of your GPU"
    )
