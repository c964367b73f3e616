"""Drawn textures: they tile, are as coarse in metres on every mesh, and what is drawn stays what it was."""

import hashlib

import numpy as np
import pytest

from vla_bench.bench.families.calvin import FAMILY
from vla_bench.bench.setup.config import benchmark_from_plain
from vla_bench.envs.calvin.oracle import TABLE
from vla_bench.envs.calvin.renderers.look import FLOOR, KINDS, VARIANTS, Pattern, drawn_look
from vla_bench.envs.calvin.renderers.patterns import Periods, drawn, periods_on
from vla_bench.envs.stress.levels import RULES

PIXELS = {
    "checker": "e4f58c30a78b",
    "noise": "8c1d730a20b2",
    "stripes": "d705a8867499",
    "wood": "1f4c8b09ab8a",
}
"""First digits of the SHA-256 of the fourth of each kind."""
SQUARE = """v 0 0 0
v {size} 0 0
v {size} {size} 0
v 0 {size} 0
vt 0 0
vt {across} 0
vt {across} {up}
vt 0 {up}
f 1/1 2/2 3/3 4/4
"""


@pytest.mark.parametrize("kind", KINDS)
def test_patterns_have_two_tones_and_tile_without_a_seam(kind):
    for variant in range(VARIANTS):
        image = drawn(Pattern(kind, variant, 0.1), Periods(3, 2)).astype(float)
        assert image.mean(axis=2).std() > 5
        twice = np.tile(image, (2, 2, 1))
        for axis in (0, 1):
            steps = np.abs(np.diff(twice, axis=axis)).mean(axis=(1 - axis, 2))
            seam = steps[image.shape[axis] - 1]
            assert seam <= np.max(np.delete(steps, image.shape[axis] - 1)) + 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_drawn_is_what_its_rule_drew_before(kind):
    """Where this fails, textures are others: raise the version of ``textures`` in RULES, then write them here anew."""
    assert "textures" not in RULES
    pixels = drawn(Pattern(kind, 3, 0.1), Periods(2, 3))
    assert pixels.shape == (128, 128, 3)
    assert hashlib.sha256(pixels.tobytes()).hexdigest()[:12] == PIXELS[kind]


def test_no_two_patterns_are_the_same():
    every = [drawn(Pattern(kind, k, 0.1), Periods(2, 2)).tobytes() for kind in KINDS for k in range(VARIANTS)]
    assert len(set(every)) == len(every)


@pytest.mark.parametrize(("size", "across", "up"), [(1.0, 1, 1), (2.0, 4, 1), (0.5, 0.25, 0.5)])
def test_a_pattern_is_as_coarse_on_every_mesh(tmp_path, size, across, up):
    path = tmp_path / f"square{size}.obj"
    path.write_text(SQUARE.format(size=size, across=across, up=up), encoding="utf-8")
    found = periods_on(Pattern("checker", 0, 0.1), path, (1.0, 1.0, 1.0))
    assert found == (round(size / across / 0.1), round(size / up / 0.1))
    assert periods_on(Pattern("checker", 0, 100.0), path, (1.0, 1.0, 1.0)) == (1, 1)


def test_table_and_floor_are_covered_by_what_is_drawn_for_them():
    looks = [drawn_look(seed, 0.0, 0.0, 0.0, "any") for seed in range(200)]
    assert {look.pattern(TABLE).kind for look in looks} == set(KINDS)
    assert {look.pattern(FLOOR).variant for look in looks} == set(range(VARIANTS))
    assert all(look.pattern(2) is None and look.tints is None for look in looks)
    assert drawn_look(5, 0.0, 0.0, 0.0, "any") == looks[5]
    assert {drawn_look(seed, 0.0, 0.0, 0.0, "wood").pattern(TABLE).kind for seed in range(9)} == {"wood"}
    assert drawn_look(5, 0.0, 0.0, 0.0).patterns is None


@pytest.mark.parametrize(
    ("facts", "options", "level", "said"),
    [
        ({"renderer": "egl"}, {}, "textures", "renderer=fast"),
        ({"renderer": "egl"}, {}, "light_turn", "keeps its light"),
        ({"renderer": "egl"}, {}, "colours", ""),
        ({"renderer": "fast"}, {}, "textures", ""),
        ({"renderer": "none"}, {}, "light_turn", ""),
        ({"renderer": "egl"}, {"backend": "calvin_env"}, "clutter", "our own environment"),
        ({"renderer": "egl"}, {"backend": "calvin_env"}, "lost", ""),
    ],
)
def test_what_a_renderer_cannot_show_is_refused_before_anything_is_run(facts, options, level, said):
    benchmark = benchmark_from_plain({"family": "calvin", "assets": "builtin", **options})
    refusal = FAMILY.stress_refused(benchmark, facts, (level,))
    assert said in refusal
    assert bool(said) == bool(refusal)
