"""The original package's shaders without what nobody reads: the same pixels, at half the cost in software.

sapien 2 fills some twenty images per picture (motion, object coordinates, coloured segmentations, a pass each
for see-through surfaces, labels, lines and points, light from an environment map). Where none of them reach
the picture, a set of shaders without them is derived from the installed ones, into a cache folder. What is
left is computed as before, and on lavapipe the pixels are the same to the last bit
(``tests/golden/test_simpler_replays.py``).
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from vla_bench.envs.simpler.vulkan import cache_folder

_KEPT = ("composite.vert", "deferred.vert", "gbuffer.vert", "shadow.vert")
_CUTS = {
    "gbuffer.frag": (
        (r"layout\(location = 5\) out vec4 outCustom;\n", ""),
        (r"layout\(location = 6\) out vec4 outMotionDirection;\n", ""),
        (r"layout\(location = 7\) out vec4 outEmission;", "layout(location = 5) out vec4 outEmission;"),
        (r" *outCustom = [^;]*;\n", ""),
        (r" *vec4 p1 = .*?outMotionDirection = [^;]*;\n", ""),
    ),
    "deferred.frag": (
        (r"layout\(set = 2, binding = 6\) uniform sampler2D samplerCustom;\n", ""),
        (r"\(set = 2, binding = 7\)( uniform samplerCube samplerEnvironment;)", r"(set = 2, binding = 6)\1"),
        (r"\(set = 2, binding = 8\)( uniform sampler2D samplerBRDFLUT;)", r"(set = 2, binding = 7)\1"),
        (r" *color \+= diffuseIBL\([^;]*;\n", ""),
        (r" *color \+= specularIBL\([^;]*;\n", ""),
        (r"getBackgroundColor\(\(cameraBuffer\.[^;]*?\)\.xyz\)", "vec3(0)"),
    ),
}
"""What is cut, each of it exactly once: all that feeds unread images only, and the light of a missing map."""
_COMPOSITE = """#version 450

layout(set = 0, binding = 0) uniform sampler2D samplerLighting;
layout(set = 0, binding = 1) uniform sampler2D samplerGbufferDepth;
layout(set = 0, binding = 2) uniform usampler2D samplerSegmentation0;
layout(set = 0, binding = 3) uniform sampler2D samplerPosition0;

layout(location = 0) in vec2 inUV;
layout(location = 0) out vec4 outColor;
layout(location = 1) out vec4 outPosition;
layout(location = 2) out uvec4 outSegmentation;

void main() {
  vec4 lit = vec4(texture(samplerLighting, inUV).rgb, 1);
  outColor = clamp(pow(lit, vec4(1 / 2.2, 1 / 2.2, 1 / 2.2, 1)), vec4(0), vec4(1));
  outPosition = vec4(texture(samplerPosition0, inUV).xyz, texture(samplerGbufferDepth, inUV).x);
  outSegmentation = texture(samplerSegmentation0, inUV);
}
"""
"""Colour, position and segmentation of what is opaque. By these names sapien connects the images."""


def lean_shaders(installed: Path) -> str | None:
    """The folder of the lean shaders, made on first sight.

    Args:
        installed: sapien's ``vulkan_shader``, with ``ibl`` and ``common``.

    Returns:
        What ``sapien.render_config.camera_shader_dir`` takes; None where the installed shaders are not those
        that the cuts were made for, or nothing can be written.
    """
    try:
        sources = {name: (installed / "ibl" / name).read_text() for name in (*_KEPT, *_CUTS)}
    except OSError:
        return None
    for name, cuts in _CUTS.items():
        for pattern, instead in cuts:
            sources[name], times = re.subn(pattern, instead, sources[name], flags=re.DOTALL)
            if times != 1:
                return None
    sources["composite0.frag"] = _COMPOSITE
    digest = hashlib.sha256("\0".join(f"{name}\0{sources[name]}" for name in sorted(sources)).encode())
    folder = cache_folder().with_name("simpler-shaders") / digest.hexdigest()[:16]
    if not folder.is_dir():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent) as name:
                made = Path(name) / "made"
                shutil.copytree(installed / "common", made / "common")
                (made / "lean").mkdir()
                for source, text in sources.items():
                    (made / "lean" / source).write_text(text)
                with contextlib.suppress(OSError):  # another worker was faster
                    made.rename(folder)
        except OSError:
            return None
    return str(folder / "lean") if folder.is_dir() else None


def is_opaque(scene: Any) -> bool:
    """Whether nothing in a ``sapien.core.Scene`` is see-through, as sapien's renderer sorts it: by the alpha
    of a material's base colour."""
    parts = [*scene.get_all_actors()]
    for articulation in scene.get_all_articulations():
        parts += articulation.get_links()
    return all(
        shape.material.base_color[3] == 1
        for part in parts
        for body in part.get_visual_bodies()
        for shape in body.get_render_shapes()
    )
