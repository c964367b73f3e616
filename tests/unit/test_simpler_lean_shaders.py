"""What is cut from the installed shaders, and when they are left alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from vla_bench.envs.simpler.lean_shaders import is_opaque, lean_shaders

GBUFFER = """#version 450
layout(location = 4) out uvec4 outSegmentation0;
layout(location = 5) out vec4 outCustom;
layout(location = 6) out vec4 outMotionDirection;
layout(location = 7) out vec4 outEmission;
void main() {
  outCustom = vec4(here, 1);
  vec4 p1 = after * here;
  vec4 p2 = before * here;
  outMotionDirection = p1 - p2;
  outEmission = glow;
}
"""
DEFERRED = """#version 450
layout(set = 2, binding = 5) uniform sampler2D samplerGbufferDepth;
layout(set = 2, binding = 6) uniform sampler2D samplerCustom;
layout(set = 2, binding = 7) uniform samplerCube samplerEnvironment;
layout(set = 2, binding = 8) uniform sampler2D samplerBRDFLUT;
void main() {
  color += lights;
  color += diffuseIBL(albedo, normal);
  color += specularIBL(fresnel,
                       mat3(cameraBuffer.viewMatrixInverse) * direction);
  outLighting = vec4(getBackgroundColor((cameraBuffer.viewMatrixInverse * csPosition).xyz), 1.f);
}
"""


@pytest.fixture
def installed(tmp_path, monkeypatch) -> Path:
    """A folder like sapien's, and a cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "vulkan_shader"
    (folder / "ibl").mkdir(parents=True)
    (folder / "common").mkdir()
    (folder / "common/lights.glsl").write_text("light")
    for name in ("composite", "deferred", "gbuffer", "shadow"):
        (folder / f"ibl/{name}.vert").write_text(name)
    (folder / "ibl/gbuffer.frag").write_text(GBUFFER)
    (folder / "ibl/deferred.frag").write_text(DEFERRED)
    (folder / "ibl/gbuffer1.frag").write_text("see-through")
    return folder


def test_unread_images_and_the_absent_light_are_cut(installed):
    lean = Path(lean_shaders(installed))
    assert (lean.parent / "common/lights.glsl").read_text() == "light"
    assert not (lean / "gbuffer1.frag").exists()
    assert (lean / "gbuffer.frag").read_text().splitlines() == [
        "#version 450",
        "layout(location = 4) out uvec4 outSegmentation0;",
        "layout(location = 5) out vec4 outEmission;",
        "void main() {",
        "  outEmission = glow;",
        "}",
    ]
    deferred = (lean / "deferred.frag").read_text()
    assert "IBL(" not in deferred
    assert "color += lights;" in deferred
    assert "outLighting = vec4(vec3(0), 1.f);" in deferred
    assert "(set = 2, binding = 6) uniform samplerCube samplerEnvironment" in deferred
    assert lean_shaders(installed) == str(lean)
    assert [path.name for path in lean.parent.parent.iterdir()] == [lean.parent.name]


@pytest.mark.parametrize("change", [("outCustom = vec4(here, 1);", ""), ("vec4 p1", "vec4 p0")])
def test_other_shaders_are_left_alone(installed, change):
    path = installed / "ibl/gbuffer.frag"
    path.write_text(path.read_text().replace(*change))
    assert lean_shaders(installed) is None
    path.unlink()
    assert lean_shaders(installed) is None


def test_a_cache_that_cannot_be_written_is_done_without(installed, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    assert lean_shaders(installed) is None


@pytest.mark.parametrize("alpha", [1, 0.5])
def test_a_scene_is_opaque_when_all_its_materials_are(alpha):
    def part(*alphas):
        shapes = [SimpleNamespace(material=SimpleNamespace(base_color=(1, 1, 1, each))) for each in alphas]
        body = SimpleNamespace(get_render_shapes=lambda: shapes)
        return SimpleNamespace(get_visual_bodies=lambda: [body])

    robot = SimpleNamespace(get_links=lambda: [part(1), part(1, alpha)])
    scene = SimpleNamespace(get_all_actors=lambda: [part(1)], get_all_articulations=lambda: [robot])
    assert is_opaque(scene) == (alpha == 1)
