"""The pieces of the fast renderer, each on a case small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vla_bench.envs.calvin.renderers.fast import hull, light
from vla_bench.envs.calvin.renderers.fast.library import Library
from vla_bench.envs.calvin.renderers.fast.light import LIGHT_MATRIX, draw_shadow, visibility
from vla_bench.envs.calvin.renderers.fast.meshes import Mesh, read_mesh, texture_of, weld
from vla_bench.envs.calvin.renderers.fast.rasteriser import (
    DEPTH_STEPS,
    FARTHEST,
    NOTHING,
    RANK_BITS,
    draw,
    project,
)
from vla_bench.envs.calvin.renderers.fast.shading import _bilinear, _mip_level
from vla_bench.envs.calvin.renderers.fast.simplify import simplified
from vla_bench.envs.calvin.renderers.fast.textures import mip_pyramid
from vla_bench.envs.errors import RendererError

SIZE = 8
NEAR, FAR = 1.0, 10.0
CAMERA = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], dtype=np.float32)
"""A pinhole at the origin looking along z: column = x / z, row = y / z."""


def drawn(corners: list, rank: int = 0, into: tuple | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Depths and owners (SIZE, SIZE) after drawing triangles (T, 3, 3)."""
    positions = np.array(corners, dtype=np.float32).reshape(-1, 3)
    triangles = np.arange(len(positions), dtype=np.int32).reshape(-1, 3)
    depths, owners = into or (
        np.full((SIZE, SIZE), FARTHEST, np.int32),
        np.full((SIZE, SIZE), NOTHING, np.int32),
    )
    x, y = np.zeros(len(positions), np.int32), np.zeros(len(positions), np.int32)
    w, clipped = np.zeros(len(positions), np.float32), np.zeros((4, 3))
    project(positions, 0, len(positions), CAMERA, x, y, w)
    draw(
        triangles,
        0,
        len(triangles),
        positions,
        CAMERA,
        x,
        y,
        w,
        clipped,
        np.int32(rank),
        NEAR,
        FAR,
        depths,
        owners,
    )
    return depths, owners


def facing(points: list, depth: float = 2.0) -> list:
    """A triangle given by pixels (column, row), at a distance, turned to the eye."""
    corners = [(column * depth, row * depth, depth) for column, row in points]
    (ax, ay), (bx, by), (cx, cy) = points
    clockwise = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)  # rows count downwards
    return corners[::-1] if clockwise > 0 else corners


def test_triangle_covers_the_pixel_centres_inside_it():
    _, owners = drawn([facing([(0.5, 0.5), (5.5, 0.5), (0.5, 5.5)])])
    expected = np.full((SIZE, SIZE), NOTHING)
    for row in range(1, 5):
        expected[row, 1 : 6 - row] = 0
    expected[np.add.outer(np.arange(SIZE), np.arange(SIZE)) == 6] = NOTHING
    assert np.array_equal(owners == 0, expected == 0)


def test_triangles_that_share_an_edge_cover_each_pixel_once():
    first = facing([(1, 1), (6, 1), (1, 6)])
    second = facing([(6, 1), (6, 6), (1, 6)])
    one, other = drawn([first])[1] == 0, drawn([second])[1] == 0
    assert not (one & other).any()
    # Left and top edges belong to the square, right and bottom ones do not.
    assert np.argwhere(one | other).tolist() == [[r, c] for r in range(1, 6) for c in range(1, 6)]


def test_triangle_turned_away_is_not_drawn():
    assert (drawn([facing([(0, 0), (7, 0), (0, 7)])[::-1]])[1] == NOTHING).all()


def test_nearer_triangle_hides_the_other_in_either_order():
    near, far = facing([(0, 0), (7, 0), (0, 7)], 2.0), facing([(0, 0), (7, 0), (0, 7)], 4.0)
    assert (drawn([near, far])[1][0, :6] == 0).all()
    assert (drawn([far, near])[1][0, :6] == 1).all()


def test_depth_buffer_holds_opengl_depth_in_16_bits():
    depths, _ = drawn([facing([(0, 0), (7, 0), (0, 7)], 3.0)])
    expected = FAR / (FAR - NEAR) * (1 - NEAR / 3.0)
    assert depths[1, 1] >> RANK_BITS == round(expected * DEPTH_STEPS)


def test_at_equal_depth_the_lower_rank_is_seen():
    square = facing([(0, 0), (7, 0), (0, 7)], 4.0)
    for first, second in ((3, 5), (5, 3)):
        depths, _ = drawn([square], second, drawn([square], first))
        assert depths[1, 1] & (2**RANK_BITS - 1) == 3


def test_triangle_through_the_near_plane_is_cut():
    # A floor below the eye, from behind it to far ahead.
    corners = [(-50, 1.5, -5.0), (50, 1.5, -5.0), (0, 1.5, 200.0)]
    owners = drawn([corners])[1]
    if (owners == NOTHING).all():
        owners = drawn([corners[::-1]])[1]
    # Distance 1.5 / row: nearer than NEAR from row 2 on, farther than FAR in row 0.
    assert (owners[1] == 0).all()
    assert (owners[2:] == NOTHING).all()
    assert (owners[0] == NOTHING).all()


def test_mip_pyramid_halves_until_one_texel_and_keeps_the_mean():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 3)).astype(np.uint8)
    pyramid = mip_pyramid(pixels)
    assert pyramid.levels[:, 1:].tolist() == [[8, 4], [4, 2], [2, 1], [1, 1]]
    assert np.abs(pyramid.texels[-1].astype(float) - pixels.mean(axis=(0, 1))).max() <= 1.5
    assert np.array_equal(pyramid.texels[32], (pixels[:2, :2].sum(axis=(0, 1)) + 2) // 4)


@pytest.mark.parametrize(
    ("texels_per_pixel", "level", "share"),
    [(0.3, 0, 0.0), (1.0, 0, 0.0), (2.0, 1, 0.0), (4.0, 2, 0.0), (1000.0, 3, 0.0)],
)
def test_mip_level_is_that_of_one_texel_per_pixel(texels_per_pixel, level, share):
    assert _mip_level(texels_per_pixel, 4) == (level, share)


def test_mip_levels_blend_without_a_jump():
    positions = [sum(_mip_level(pace, 10)) for pace in np.linspace(1.0, 8.0, 2000)]
    assert np.diff(positions).min() >= 0
    assert np.diff(positions).max() < 0.02


def test_bilinear_filtering_repeats_the_image():
    texels = np.array([[0, 0, 0], [200, 100, 40]], dtype=np.uint8)
    levels = np.array([[0, 2, 1]], dtype=np.int32)
    assert _bilinear(levels, texels, 0, 0.25, 0.5) == pytest.approx((0, 0, 0))
    assert _bilinear(levels, texels, 0, 0.75, 0.5)[0] == pytest.approx(200 / 255)
    assert _bilinear(levels, texels, 0, 0.0, 0.5)[1] == pytest.approx(50 / 255)
    assert _bilinear(levels, texels, 0, -3.25, 7.5)[0] == pytest.approx(200 / 255)


def test_shadow_falls_away_from_the_light():
    mesh = hull.box(np.array((0.2, 0.2, 0.2)))
    depths = np.full((light.WINDOW_TEXELS,) * 2, DEPTH_STEPS, np.uint16)
    scratch = np.zeros(8, np.int32), np.zeros(8, np.int32), np.zeros(8, np.float32)
    matrix = LIGHT_MATRIX.copy()
    matrix[:, 3] += matrix[:, :3] @ (0.0, 0.0, 0.6)  # the box hangs at a height of 0.6 m
    draw_shadow(mesh.positions, 0, 8, mesh.triangles, 0, 12, matrix.astype(np.float32), *scratch, depths)

    def lit(*point: float) -> float:
        column, row, step = (np.float32(value) for value in LIGHT_MATRIX @ [*point, 1])
        return float(visibility(depths, column, row, step))

    sideways = 0.6 * 40 / 200  # the light comes from -y, so the shadow moves to +y
    assert lit(0.0, sideways, 0.0) == 0.0
    assert lit(0.0, -0.2, 0.0) == 1.0
    assert lit(0.0, 0.0, 1.0) == 1.0  # above the box
    assert lit(30.0, 0.0, 0.0) == 1.0  # outside the window
    edge = [lit(x, sideways, 0.0) for x in np.linspace(-0.2, 0.0, 400)]
    assert 0 < sum(0 < share < 1 for share in edge) < 40


@pytest.mark.parametrize(
    ("mesh", "volume", "tolerance"),
    [
        (hull.box(np.array((0.08, 0.04, 0.02))), 0.08 * 0.04 * 0.02, 1e-6),
        (hull.cylinder(0.13, 0.24), np.pi * 0.13**2 * 0.24, 0.05),
        (hull.capsule(0.05, 0.1), np.pi * 0.05**2 * (0.1 + 2 * 0.05 / 3), 0.05),  # its ends are cones
        (hull.sphere(0.1), 4 / 3 * np.pi * 0.1**3, 0.15),
    ],
)
def test_primitives_are_closed_and_of_the_right_size(mesh, volume, tolerance):
    corners = mesh.positions[mesh.triangles].astype(float)
    enclosed = np.sum(np.cross(corners[:, 0], corners[:, 1]) * corners[:, 2]) / 6
    assert enclosed == pytest.approx(volume, rel=tolerance)
    edges = mesh.triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    assert {tuple(edge) for edge in edges} == {tuple(edge[::-1]) for edge in edges}
    assert len(mesh.triangles) == 2 * len(mesh.positions) - 4  # Euler


def sphere_mesh(rings: int) -> Mesh:
    angle = np.linspace(0, np.pi, rings + 1)
    turn = np.linspace(0, 2 * np.pi, 2 * rings + 1)
    grid = np.stack(
        [
            np.outer(np.sin(angle), np.cos(turn)),
            np.outer(np.sin(angle), np.sin(turn)),
            np.outer(np.cos(angle), np.ones_like(turn)),
        ],
        axis=2,
    )
    grid[:, -1] = grid[:, 0]
    a, b = grid[:-1, :-1].reshape(-1, 3), grid[1:, :-1].reshape(-1, 3)
    c, d = grid[1:, 1:].reshape(-1, 3), grid[:-1, 1:].reshape(-1, 3)
    corners = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)]).round(6)
    return weld(corners, corners, np.full((len(corners), 3, 2), 0.5))


def test_simplified_sphere_is_coarser_and_still_a_sphere():
    mesh = sphere_mesh(40)
    coarse = simplified(mesh, 0.03)
    assert len(coarse.triangles) < len(mesh.triangles) / 3
    centres = coarse.positions[coarse.triangles].mean(axis=1)
    assert np.linalg.norm(coarse.positions, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert np.linalg.norm(centres, axis=1).min() > 0.95
    corners = coarse.positions[coarse.triangles]
    outward = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (np.sum(outward * centres, axis=1) > 0).all()
    # Closed: every edge is there once in each direction.
    edges = coarse.triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    assert {tuple(edge) for edge in edges} == {tuple(edge[::-1]) for edge in edges}
    # Normals were carried along: they still point where their positions do.
    assert np.sum(coarse.normals * corners, axis=2).min() > 0.9


def test_simplification_keeps_the_edge_between_two_colours():
    steps = np.arange(9) / 8
    x, y = (grid.ravel() for grid in np.meshgrid(steps[:-1], steps[:-1]))
    zero, h = np.zeros_like(x), 1 / 8
    a, b = np.stack([x, y, zero], 1), np.stack([x + h, y, zero], 1)
    c, d = np.stack([x + h, y + h, zero], 1), np.stack([x, y + h, zero], 1)
    corners = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    left = corners[:, :, 0].max(axis=1) <= 0.5
    paint = np.repeat(np.where(left, 0.25, 0.75), 6).reshape(-1, 3, 2)
    normals = np.broadcast_to((0.0, 0.0, 1.0), corners.shape)
    coarse = simplified(weld(corners, normals, paint), 0.001)
    assert len(coarse.triangles) < 20
    corners = coarse.positions[coarse.triangles]
    areas = 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    for colour, where in ((0.25, corners[:, :, 0] <= 0.5), (0.75, corners[:, :, 0] >= 0.5)):
        painted = coarse.texture_coordinates[:, 0, 0] == np.float32(colour)
        assert where[painted].all()
        assert areas[painted].sum() == pytest.approx(0.5, abs=1e-6)


OBJ = """mtllib look.mtl
v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
vt 0 0
vt 1 0
vt 1 1
vt 0 1
usemtl wood
f 1/1 2/2 3/3 4/4
"""


def test_wavefront_quadrangle_becomes_two_flat_triangles(tmp_path):
    path = tmp_path / "quad.obj"
    path.write_text(OBJ)
    mesh = read_mesh(path)
    assert mesh.positions.shape == (4, 3)
    assert len(mesh.triangles) == 2
    assert (mesh.normals == (0, 0, 1)).all()
    assert mesh.texture_coordinates[1].tolist() == [[0, 0], [1, 1], [0, 1]]


def test_texture_is_the_first_whose_image_is_there(tmp_path):
    (tmp_path / "quad.obj").write_text(OBJ)
    assert texture_of(tmp_path / "quad.obj") is None
    (tmp_path / "look.mtl").write_text("newmtl wood\nmap_Kd wood.png\n")
    assert texture_of(tmp_path / "quad.obj") is None
    (tmp_path / "wood.png").touch()
    assert texture_of(tmp_path / "quad.obj") == tmp_path / "wood.png"


def test_other_mesh_formats_are_named(tmp_path):
    with pytest.raises(RendererError, match=r"\.obj and \.stl"):
        read_mesh(tmp_path / "arm.dae")


@pytest.fixture
def sphere_file(tmp_path):
    mesh = sphere_mesh(24)
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in mesh.positions]
    lines += ["f " + " ".join(str(i + 1) for i in triangle) for triangle in mesh.triangles]
    path = tmp_path / "sphere.obj"
    path.write_text("\n".join(lines))
    return path


def test_library_makes_a_mesh_once_for_all_processes(tmp_path, monkeypatch, sphere_file):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = Library(0.01).mesh(sphere_file, (0.5, 0.5, 0.5))
    assert np.abs(made.positions).max() == pytest.approx(0.5, abs=1e-3)
    kept = list((tmp_path / "cache").rglob("*.npz"))
    assert len(kept) == 1
    monkeypatch.setattr("vla_bench.envs.calvin.renderers.fast.library.read_mesh", None)
    again = Library(0.01).mesh(sphere_file, (0.5, 0.5, 0.5))
    assert all(np.array_equal(getattr(made, field), getattr(again, field)) for field in Mesh.__slots__)


def test_library_makes_a_spoilt_mesh_anew(tmp_path, monkeypatch, sphere_file):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = Library(0.01).mesh(sphere_file, (1.0, 1.0, 1.0))
    (kept,) = (tmp_path / "cache").rglob("*.npz")
    kept.write_bytes(kept.read_bytes()[:500])
    again = Library(0.01).mesh(sphere_file, (1.0, 1.0, 1.0))
    assert np.array_equal(made.triangles, again.triangles)


def test_library_works_without_a_place_to_keep_things(tmp_path, monkeypatch, sphere_file):
    (tmp_path / "file").touch()  # no folder can be made below a file, whoever asks
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(Library(0.01).mesh(sphere_file, (1.0, 1.0, 1.0)).triangles) > 50
