"""How a view becomes pixels. Renderers change scores, so a result set names the one it was made with."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from envs.calvin.cameras import View
from envs.errors import RendererError

RENDERERS = ("tiny",)
"""Renderers that this version has; ``auto`` picks the first that works."""


class Renderer(Protocol):
    """Draws the loaded scene as it is now."""

    def render(self, view: View) -> tuple[np.ndarray, np.ndarray]:
        """Colours (H, W, 3) uint8 and metric depth (H, W) float32, metres."""
        ...

    def describe(self) -> dict[str, str]:
        """Name, version and whatever else identifies the pixels."""
        ...


class TinyRenderer:
    """PyBullet's software renderer: runs anywhere; no shadows; not what CALVIN's data was made with."""

    def __init__(self, bullet: Any, client: int) -> None:
        self._bullet = bullet
        self._client = client

    def render(self, view: View) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`Renderer`."""
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
        rgb = np.asarray(rgba, dtype=np.uint8).reshape(view.height, view.width, 4)[:, :, :3]
        depth = view.metric_depth(np.asarray(buffer, dtype=np.float32).reshape(view.height, view.width))
        return np.ascontiguousarray(rgb), depth

    def describe(self) -> dict[str, str]:
        """See :class:`Renderer`."""
        return {"name": "tiny", "renderer": "PyBullet TinyRenderer (software, no shadows)"}


def resolve_renderer(name: str) -> str:
    """The renderer that ``auto`` stands for on this machine, or ``name`` itself.

    Raises:
        RendererError: when there is no such renderer.
    """
    if name == "auto":
        return RENDERERS[0]
    if name not in RENDERERS:
        raise RendererError(f"unknown renderer {name!r}; there are auto, {', '.join(RENDERERS)}")
    return name
