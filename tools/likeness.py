"""How like PyBullet's OpenGL renderer another renderer draws CALVIN, on states drawn at random.

Mean absolute difference of the colours, of 255, and structural similarity; mean and worst of the frames.

  python -m tools.likeness
  python -m tools.likeness --renderer tiny --frames 10 --assets builtin
"""

from __future__ import annotations

import argparse
import os
from typing import Any

import numpy as np

CAMERAS = ("static", "gripper")
_FRAMES_PER_RESET, _STEPS_BETWEEN = 5, 15


def main() -> None:
    """Measures and prints."""
    from vla_bench.envs.calvin.renderers import RENDERERS, make_renderer

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = ["official", "builtin"] if os.environ.get("CALVIN_ASSETS") else ["builtin"]
    parser.add_argument("--assets", nargs="+", default=default)
    parser.add_argument("--scenes", nargs="+", default=list("ABCD"), metavar="SCENE")
    parser.add_argument("--renderer", default="fast", choices=[name for name in RENDERERS if name != "egl"])
    parser.add_argument("--frames", type=int, default=25, help="of each camera in each scene")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    import pybullet

    renderers = [make_renderer(name, pybullet) for name in (arguments.renderer, "egl")]
    print(f"{arguments.renderer} against egl ({renderers[1].describe()['gl_renderer']})\n")
    print(f"{'assets':<10}{'scene':<7}{'camera':<9}{'difference':>11}{'worst':>7}{'SSIM':>9}{'worst':>8}")
    for assets in arguments.assets:
        for scene in arguments.scenes:
            found = compare(*renderers, assets, scene, arguments.frames, arguments.seed)
            for camera, values in found.items():
                differences, similarities = np.array(values).T
                print(
                    f"{assets:<10}{scene:<7}{camera:<9}{differences.mean():>11.2f}{differences.max():>7.2f}"
                    f"{similarities.mean():>9.4f}{similarities.min():>8.4f}",
                    flush=True,
                )
    for renderer in renderers:
        renderer.close()


def compare(
    renderer: Any, reference: Any, assets: str, scene: str, frames: int, seed: int
) -> dict[str, list[tuple[float, float]]]:
    """Difference and similarity of each frame, by camera: drawers, lamps and the arm anywhere."""
    import pybullet

    from vla_bench.envs.calvin.bundle import find_bundle
    from vla_bench.envs.calvin.cameras import view_of
    from vla_bench.envs.calvin.simulation import CalvinSimulation
    from vla_bench.envs.observation import Camera
    from vla_bench.envs.simulation import EpisodeStart

    generator = np.random.default_rng(seed)
    simulation = CalvinSimulation(find_bundle(assets))
    simulation.reset(EpisodeStart(scene, {}))
    found: dict[str, list[tuple[float, float]]] = {camera: [] for camera in CAMERAS}
    for number in range(frames):
        if number % _FRAMES_PER_RESET == 0:
            state = simulation.world.scene_obs()
            state[:6] = generator.uniform((0, 0, 0, 0, 0, 0), (0.28, 0.22, 0, 0.088, 1, 1))
            state[4:6] = np.round(state[4:6])
            simulation.reset(EpisodeStart(scene, {"scene_obs": state}))
        world = simulation.world
        heading = generator.uniform(-1, 1, 6)
        for _ in range(_STEPS_BETWEEN):
            motion = np.clip(heading + generator.normal(0, 0.3, 6), -1, 1)
            world.step(np.append(motion, generator.choice([-1.0, 1.0])))
        for camera in CAMERAS:
            view = view_of(Camera(camera), pybullet, world.client, world.robot.body)
            images = []
            for each in (renderer, reference):
                each.load(world)
                images.append(each.render(view)[0])
            found[camera].append((difference(*images), structural_similarity(*images)))
    simulation.close()
    return found


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute difference of 255."""
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def structural_similarity(a: np.ndarray, b: np.ndarray) -> float:
    """SSIM (Wang et al. 2004) of images (H, W, 3), window of 7 x 7, mean over pixels and channels."""
    from scipy.ndimage import uniform_filter

    a, b = a.astype(float), b.astype(float)

    def mean(x: np.ndarray) -> np.ndarray:
        return uniform_filter(x, size=(7, 7, 1))[3:-3, 3:-3]

    sample = 49 / 48
    ma, mb = mean(a), mean(b)
    va, vb = sample * (mean(a * a) - ma * ma), sample * (mean(b * b) - mb * mb)
    covariance = sample * (mean(a * b) - ma * mb)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return float(np.mean((2 * ma * mb + c1) * (2 * covariance + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2))))


if __name__ == "__main__":
    main()
