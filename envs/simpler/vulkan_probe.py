"""Asks Vulkan for its first device and prints it as JSON; run in a child process, since drivers crash.

Uses the loader through ctypes alone, so that it runs under any interpreter.
"""

from __future__ import annotations

import ctypes
import json
import sys
from ctypes import POINTER, Structure, byref, c_char, c_char_p, c_uint8, c_uint32, c_void_p

_API = (1 << 22) | (2 << 12)
_INSTANCE_INFO, _APPLICATION_INFO = 1, 0
_FEATURES_2, _PROPERTIES_2 = 1000059000, 1000059001
_INDEXING_FEATURES, _DRIVER_PROPERTIES = 1000161001, 1000196000
_SOFTWARE = 4  # VK_PHYSICAL_DEVICE_TYPE_CPU
_SIZE_OF_FEATURES = 55 * 4
_PARTIALLY_BOUND = 17  # position among the 20 flags of VkPhysicalDeviceDescriptorIndexingFeatures


class _ApplicationInfo(Structure):
    _fields_ = (
        ("type", c_uint32),
        ("next", c_void_p),
        ("name", c_char_p),
        ("version", c_uint32),
        ("engine", c_char_p),
        ("engine_version", c_uint32),
        ("api", c_uint32),
    )


class _InstanceInfo(Structure):
    _fields_ = (
        ("type", c_uint32),
        ("next", c_void_p),
        ("flags", c_uint32),
        ("application", POINTER(_ApplicationInfo)),
        ("layers", c_uint32),
        ("layer_names", c_void_p),
        ("extensions", c_uint32),
        ("extension_names", c_void_p),
    )


class _Extension(Structure):
    _fields_ = (("name", c_char * 256), ("version", c_uint32))


class _Properties(Structure):
    """The head of VkPhysicalDeviceProperties; limits and the rest are room only."""

    _fields_ = (
        ("api", c_uint32),
        ("driver", c_uint32),
        ("vendor", c_uint32),
        ("device", c_uint32),
        ("kind", c_uint32),
        ("name", c_char * 256),
        ("rest", c_uint8 * 4096),
    )


class _DriverProperties(Structure):
    _fields_ = (
        ("type", c_uint32),
        ("next", c_void_p),
        ("id", c_uint32),
        ("name", c_char * 256),
        ("info", c_char * 256),
        ("conformance", c_uint8 * 4),
    )


class _Properties2(Structure):
    _fields_ = (("type", c_uint32), ("next", c_void_p), ("properties", _Properties))


class _IndexingFeatures(Structure):
    _fields_ = (("type", c_uint32), ("next", c_void_p), ("flags", c_uint32 * 20))


class _Features2(Structure):
    _fields_ = (("type", c_uint32), ("next", c_void_p), ("features", c_uint8 * _SIZE_OF_FEATURES))


def look(loader: str) -> dict[str, object]:
    """What :class:`vla_bench.envs.simpler.vulkan.Device` holds, or ``error``."""
    try:
        vulkan = ctypes.CDLL(loader)
    except OSError:
        return {"error": "there is no Vulkan loader (libvulkan.so.1)"}
    application = _ApplicationInfo(_APPLICATION_INFO, None, b"probe", 1, b"", 1, _API)
    info = _InstanceInfo(_INSTANCE_INFO, None, 0, ctypes.pointer(application), 0, None, 0, None)
    instance = c_void_p()
    if code := vulkan.vkCreateInstance(byref(info), None, byref(instance)):
        code = ctypes.c_int32(code).value
        return {"error": f"there is no usable Vulkan driver (vkCreateInstance gives {code})"}
    count = c_uint32()
    vulkan.vkEnumeratePhysicalDevices(instance, byref(count), None)
    if not count.value:
        return {"error": "there is no Vulkan device"}
    devices = (c_void_p * count.value)()
    vulkan.vkEnumeratePhysicalDevices(instance, byref(count), devices)
    found = [_describe(vulkan, instance, c_void_p(device)) for device in devices]
    return min(found, key=lambda each: bool(each["software"]))


def _describe(vulkan: ctypes.CDLL, instance: c_void_p, device: c_void_p) -> dict[str, object]:
    driver = _DriverProperties(_DRIVER_PROPERTIES)
    properties = _Properties2(_PROPERTIES_2, ctypes.cast(byref(driver), c_void_p))
    vulkan.vkGetPhysicalDeviceProperties2(device, byref(properties))
    indexing = _IndexingFeatures(_INDEXING_FEATURES)
    features = _Features2(_FEATURES_2, ctypes.cast(byref(indexing), c_void_p))
    vulkan.vkGetPhysicalDeviceFeatures2(device, byref(features))
    count = c_uint32()
    vulkan.vkEnumerateDeviceExtensionProperties(device, None, byref(count), None)
    extensions = (_Extension * count.value)()
    vulkan.vkEnumerateDeviceExtensionProperties(device, None, byref(count), extensions)
    return {
        "name": properties.properties.name.decode(errors="replace"),
        "software": properties.properties.kind == _SOFTWARE,
        "driver": f"{driver.name.decode(errors='replace')} {driver.info.decode(errors='replace')}".strip(),
        "partially_bound": bool(indexing.flags[_PARTIALLY_BOUND]),
        "semaphores": any(each.name == b"VK_KHR_external_semaphore_fd" for each in extensions),
    }


if __name__ == "__main__":
    print(json.dumps(look(sys.argv[1] if len(sys.argv) > 1 else "libvulkan.so.1")))
