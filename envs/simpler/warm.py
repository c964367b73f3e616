"""Makes the collision caches of sapien 2: ``python -m vla_bench.envs.simpler.warm STAGE.glb ...``.

sapien 2 writes a rounded copy of a stage's collision mesh on first sight and reads that ever after, so
that a first run differs from all others. Loading every stage once, in a process that does nothing else,
makes all runs later ones.
"""

from __future__ import annotations

import sys

from vla_bench.envs.simpler.vulkan import load_loader


def main() -> None:
    """Loads each stage named on the command line into an empty scene, without a renderer."""
    load_loader()
    import sapien.core as sapien

    engine = sapien.Engine()
    scene = engine.create_scene(sapien.SceneConfig())
    for stage in sys.argv[1:]:
        builder = scene.create_actor_builder()
        builder.add_nonconvex_collision_from_file(stage, sapien.Pose(q=[0.707, 0.707, 0, 0]))
        builder.build_static(name=stage)


if __name__ == "__main__":
    main()
