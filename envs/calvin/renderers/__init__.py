"""How a view becomes pixels. Renderers change scores, so a result set names the one it was made with."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from vla_bench.envs.calvin.cameras import View
from vla_bench.envs.calvin.renderers.look import Look
from vla_bench.envs.calvin.renderers.tiny import TinyRenderer
from vla_bench.envs.errors import RendererError, suggestion
from vla_bench.program import installing

if TYPE_CHECKING:
    from vla_bench.envs.calvin.world import World

RENDERERS = ("egl", "fast", "tiny")
"""PyBullet's OpenGL, which CALVIN's data was made with; our own software renderer, which looks the same;
PyBullet's software renderer, which does not. ``auto`` stands for ``egl`` where a GPU does it, else for
``fast``."""


class Renderer(Protocol):
    """Draws a loaded world as it is now."""

    def load(self, world: World) -> None:
        """Takes ``world``, which has just been loaded: from now on that is what is drawn."""
        ...

    def relook(self, look: Look) -> None:
        """Shows what was loaded under another light, or tinted. RendererError: it cannot."""
        ...

    def render(self, view: View) -> tuple[np.ndarray, np.ndarray | None]:
        """Colours (H, W, 3) uint8 and, if the view asks for it, metric depth (H, W) float32, metres."""
        ...

    def describe(self) -> dict[str, str]:
        """Name, version and whatever else identifies the pixels."""
        ...

    def close(self) -> None:
        """Gives back what it holds."""
        ...


def make_renderer(name: str, bullet: Any) -> Renderer:
    """The renderer of that name, one of :data:`RENDERERS`.

    Raises:
        RendererError: when there is no such renderer, or it does not work here.
    """
    name = resolve_renderer(name)
    if name == "egl":
        from vla_bench.envs.calvin.renderers.egl import EglRenderer

        return EglRenderer(bullet)
    if name == "fast":
        from vla_bench.envs.calvin.renderers.fast.renderer import FastRenderer

        return FastRenderer(bullet)
    return TinyRenderer(bullet)


def resolve_renderer(name: str) -> str:
    """The renderer that ``auto`` stands for on this machine, or ``name`` itself.

    Raises:
        RendererError: when there is no such renderer, or it does not work here.
    """
    if name == "auto":
        return "egl" if _gpu_renders() else "fast" if _has_numba() else "tiny"
    if name not in RENDERERS:
        offered = ", ".join(RENDERERS)
        raise RendererError(f"unknown renderer {name!r}; there are auto, {offered}.{suggestion(name, RENDERERS)}")
    if name == "egl":
        from vla_bench.envs.calvin.renderers.egl_plugin import probe

        probe()
    elif name == "fast" and not _has_numba():
        raise RendererError(f"the fast renderer needs the package numba: type {installing('fast')}")
    return name


def choice_of_auto(taken: str) -> str:
    """Why ``auto`` took that renderer, in a sentence for whoever did not choose."""
    if taken == "egl":
        return "renderer auto took egl: there is a GPU that OpenGL uses"
    if taken == "fast":
        return "renderer auto took fast: there is no GPU that OpenGL uses"
    return (
        "renderer auto took tiny, which is slow: there is no GPU that OpenGL uses, and the renderer fast needs the "
        f"package numba (type {installing('fast')})"
    )


def _has_numba() -> bool:
    return importlib.util.find_spec("numba") is not None


def _gpu_renders() -> bool:
    """Whether there is a GPU and OpenGL uses it."""
    nodes = (Path("/dev/nvidiactl"), *Path("/dev/dri").glob("renderD*"))
    if not any(node.exists() for node in nodes):
        return False
    from vla_bench.envs.calvin.renderers.egl_plugin import probe

    try:
        return not probe().software
    except RendererError:
        return False
