"""One picture of each level of stress that can be seen: ``python -m tools.stress_pictures docs/pictures/stress.webp``.

What both cameras show a few steps into the first official sequence on the built-in table, by the fast renderer.
"""

from __future__ import annotations

import sys

import numpy as np

from vla_bench.bench.setup.plan import plan
from vla_bench.bench.setup.presets import load_config, presets
from vla_bench.envs.observation import Camera, Sensors
from vla_bench.envs.simulation import environment_spec
from vla_bench.envs.stress.wrapped import make_simulation
from vla_bench.policies.base import PolicySpec

SIDE, COLUMNS, LABEL = 130, 4, 14
SEEN = ("none", "image", "cameras", "light", "surfaces", "clutter", "start")
STEPS = 10


def pictures(level: str) -> np.ndarray:
    """Both cameras beside each other, (SIDE, 2 SIDE, 3) uint8."""
    words = ["benchmark=calvin_smoke", "benchmark.sequences=1", "benchmark.renderer=fast", f"stress={level}"]
    config = load_config(words)
    environment = environment_spec("calvin")
    sensors = Sensors(tuple(Camera(name, width=SIDE, height=SIDE) for name in ("static", "gripper")))
    policy = PolicySpec("still", environment.actions[0], sensors)
    made = plan(config.benchmark, policy, environment, config.stress)
    simulation = make_simulation(made.simulation)
    try:
        (episode,) = made.protocol.episodes
        simulation.reset(episode.start)
        simulation.begin(episode.subtasks[0])
        simulation.observe()  # what a frozen camera goes on to show
        action = np.array([[0.0, 0.5, -0.5, 0, 0, 0, 1]])
        simulation.advance(np.repeat(action, STEPS, axis=0))
        seen = simulation.observe()
        return np.concatenate([seen["rgb_static"], seen["rgb_gripper"]], axis=1)
    finally:
        simulation.close()


def main() -> None:
    """Draws all levels into one file."""
    from PIL import Image, ImageDraw

    levels = [each.name for each in presets("stress") if each.name.partition("_")[0] in SEEN]
    levels.sort(key=lambda name: SEEN.index(name.partition("_")[0]))
    rows = -(-len(levels) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (2 * SIDE + 4), rows * (SIDE + LABEL + 4)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, level in enumerate(levels):
        at = (number % COLUMNS * (2 * SIDE + 4), number // COLUMNS * (SIDE + LABEL + 4))
        draw.text(at, level, fill="black")
        sheet.paste(Image.fromarray(pictures(level)), (at[0], at[1] + LABEL))
    sheet.save(sys.argv[1], quality=55)


if __name__ == "__main__":
    main()
