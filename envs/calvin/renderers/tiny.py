"""PyBullet's own software renderer."""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.calvin.cameras import View
from envs.calvin.world import World


class TinyRenderer:
    """PyBullet's TinyRenderer: runs anywhere; no shadows; not what CALVIN's data was made with."""

    def __init__(self, bullet: Any) -> None:
        self._bullet = bullet
        self._client: int | None = None

    def load(self, world: World) -> None:
        """See :class:`envs.calvin.renderers.Renderer`."""
        self._client = world.client

    def render(self, view: View) -> tuple[np.ndarray, np.ndarray | None]:
        """See :class:`envs.calvin.renderers.Renderer`."""
        p = self._bullet
        _, _, rgba, buffer, _ = p.getCameraImage(
            width=view.width,
            height=view.height,
            viewMatrix=view.view,
            projectionMatrix=view.projection,
            # The mask would cost a pass and nobody looks at it; the pixels are the same.
            flags=p.ER_NO_SEGMENTATION_MASK,
            renderer=p.ER_TINY_RENDERER,
            physicsClientId=self._client,
        )
        shape = view.height, view.width
        rgb = np.ascontiguousarray(np.asarray(rgba, dtype=np.uint8).reshape(*shape, 4)[:, :, :3])
        if not view.depth:
            return rgb, None
        return rgb, view.metric_depth(np.asarray(buffer, dtype=np.float32).reshape(shape))

    def describe(self) -> dict[str, str]:
        """See :class:`envs.calvin.renderers.Renderer`."""
        return {"name": "tiny", "renderer": "PyBullet TinyRenderer (software, no shadows)"}

    def close(self) -> None:
        """Nothing to give back."""
