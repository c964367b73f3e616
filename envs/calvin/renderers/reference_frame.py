"""A frame by which two renderers can be told to be the same, on whichever machine."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from vla_bench.envs.calvin.bundle import AssetBundle
from vla_bench.envs.calvin.cameras import LENSES, view_of
from vla_bench.envs.calvin.memory import give_back_free_memory
from vla_bench.envs.calvin.scenes import scene_named
from vla_bench.envs.calvin.world import World
from vla_bench.envs.observation import Camera

if TYPE_CHECKING:
    from vla_bench.envs.calvin.renderers import Renderer

SCENE = "D"


def reference_frame_hash(renderer: Renderer, bullet: Any, bundle: AssetBundle) -> str:
    """First 16 hexadecimal digits of the SHA-256 over both cameras' colours and depth.

    Scene D as it is after a reset without a state, without clutter; of a renderer that has shown
    nothing under another light. ``renderer`` needs a ``load`` afterwards.
    """
    client = bullet.connect(bullet.DIRECT)
    try:
        world = World(bullet, client, bundle, "relative", visuals=False)
        world.load(scene_named(SCENE))
        world.reset(None, None)
        renderer.load(world)
        pixels = hashlib.sha256()
        for name in LENSES:
            view = view_of(Camera(name, depth=True), bullet, client, world.robot.body)
            for image in renderer.render(view):
                pixels.update(image.tobytes())
        return pixels.hexdigest()[:16]
    finally:
        bullet.disconnect(client)
        give_back_free_memory()
