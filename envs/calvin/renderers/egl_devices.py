"""Which graphics device EGL should use: found by identity, since EGL and CUDA number devices differently."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "EGL_VISIBLE_DEVICES"
"""What PyBullet's plugin reads: the number of a device in EGL's own list."""
_EXTENSIONS = 0x3055  # EGL_EXTENSIONS
_DRM_DEVICE_FILE = 0x3233  # EGL_DRM_DEVICE_FILE_EXT
_DEVICE_UUID = 0x335C  # EGL_DEVICE_UUID_EXT
_MAX_DEVICES = 32


@dataclass(frozen=True, slots=True)
class Device:
    """One entry of EGL's list of devices."""

    number: int
    software: bool
    """Whether it is the processor."""
    uuid: str
    """``8a1d…`` as 32 hexadecimal digits, empty when the driver does not tell."""
    pci: str
    """``0000:65:00.0``, empty when unknown."""


def choose_device(devices: Sequence[Device], environment: Mapping[str, str], pci_order: Sequence[str]) -> int | None:
    """The number to set in ``EGL_VISIBLE_DEVICES``; None leaves the choice to the plugin.

    The GPU that CUDA_VISIBLE_DEVICES gives this process, else the first GPU. ``pci_order`` lists the
    PCI addresses of the machine's NVIDIA GPUs, ascending, as ``nvidia-smi`` numbers them.
    """
    if environment.get(VARIABLE, "").strip():
        return None
    given = environment.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
    gpus = [device for device in devices if not device.software]
    if given.startswith("GPU-"):
        wanted = given.removeprefix("GPU-").replace("-", "").lower()
        matching = [device for device in gpus if device.uuid.startswith(wanted)]
    elif given.isdecimal() and int(given) < len(pci_order):
        matching = [device for device in gpus if device.pci == pci_order[int(given)]]
    else:
        matching = gpus
    return matching[0].number if matching else None


def nvidia_pci_order() -> list[str]:
    """PCI addresses of this machine's NVIDIA GPUs, ascending."""
    return sorted(path.name.lower() for path in Path("/proc/driver/nvidia/gpus").glob("*"))


def list_devices() -> list[Device]:
    """EGL's devices, in its order.

    To be called in a process that may crash.

    Raises:
        OSError: when there is no EGL library.
        RuntimeError: when it cannot list devices.
    """
    egl = ctypes.CDLL("libEGL.so.1")
    egl.eglGetProcAddress.restype = ctypes.c_void_p
    egl.eglGetProcAddress.argtypes = [ctypes.c_char_p]
    query = _function(egl, "eglQueryDevicesEXT", ctypes.c_uint, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    text = _function(egl, "eglQueryDeviceStringEXT", ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int)
    if query is None or text is None:
        raise RuntimeError("this EGL library cannot list devices")
    handles, count = (ctypes.c_void_p * _MAX_DEVICES)(), ctypes.c_int()
    if not query(_MAX_DEVICES, handles, ctypes.byref(count)):
        raise RuntimeError("eglQueryDevicesEXT failed")
    devices = []
    for number in range(count.value):
        extensions = (text(handles[number], _EXTENSIONS) or b"").decode().split()
        file = text(handles[number], _DRM_DEVICE_FILE) if "EGL_EXT_device_drm" in extensions else None
        devices.append(
            Device(
                number,
                "EGL_MESA_device_software" in extensions,
                _uuid(egl, handles[number]) if "EGL_EXT_device_persistent_id" in extensions else "",
                _pci_address(file.decode()) if file else "",
            )
        )
    return devices


def _function(egl: ctypes.CDLL, name: str, result: type, *arguments: type):
    address = egl.eglGetProcAddress(name.encode())
    return ctypes.CFUNCTYPE(result, *arguments)(address) if address else None


def _uuid(egl: ctypes.CDLL, handle: int) -> str:
    binary = _function(
        egl,
        "eglQueryDeviceBinaryEXT",
        ctypes.c_uint,
        ctypes.c_void_p,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_void_p,
    )
    value, size = (ctypes.c_ubyte * 16)(), ctypes.c_int()
    if binary is None or not binary(handle, _DEVICE_UUID, 16, value, ctypes.byref(size)):
        return ""
    return bytes(value[: size.value]).hex()


def _pci_address(file: str) -> str:
    """Of the device behind ``/dev/dri/cardN``."""
    link = Path("/sys/class/drm") / os.path.basename(file) / "device"
    return link.resolve().name.lower() if link.exists() else ""
