"""A frame of a clip: the cameras, and beside them the instruction, the subtask, the step and the outcome."""

from __future__ import annotations

import textwrap

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vla_bench.bench.protocol import EpisodeSpec
from vla_bench.bench.video.replay import Moment

MAIN, SIDE, MARGIN = 400, 192, 8
"""Pixels: side of the first camera's image, of the others', and the space between."""
WIDTH, HEIGHT = MAIN + SIDE + 3 * MARGIN, MAIN + 2 * MARGIN
_GROUND, _TEXT, _QUIET = (22, 24, 29), (236, 238, 242), (150, 156, 168)
_SOLVED, _FAILED = (46, 160, 90), (214, 72, 62)
_LINE = 27
"""Characters of the instruction in a line."""
_SMALL_LINE = 26


def draw(moment: Moment, episode: EpisodeSpec) -> np.ndarray:
    """The frame (HEIGHT, WIDTH, 3) uint8."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), _GROUND)
    pen = ImageDraw.Draw(picture)
    first, *others = moment.images.values()
    _paste(picture, first, MARGIN, MARGIN, MAIN)
    left, top = MAIN + 2 * MARGIN, MARGIN
    for image in others[:1]:
        top += _paste(picture, image, left, top, SIDE) + MARGIN
    subtask = episode.subtasks[moment.position]
    top = _small(pen, left, top, episode.episode)
    for line in textwrap.wrap(episode.instructions[moment.position], _LINE)[:4]:
        pen.text((left, top), line, _TEXT, _font(15))
        top += 20
    top += 6
    if subtask not in episode.episode:
        top = _small(pen, left, top, f"{moment.position + 1}/{len(episode.subtasks)}  {subtask}")
    _small(pen, left, top, f"step {moment.step} of {episode.step_limit}")
    _progress(pen, left, HEIGHT - MARGIN - 6, moment.step / max(episode.step_limit, 1))
    if moment.outcome is not None:
        _banner(pen, moment)
    return np.asarray(picture)


def _small(pen: ImageDraw.ImageDraw, left: int, top: int, name: str) -> int:
    """Writes a name, in two lines if it is long; returns where the next line begins."""
    for line in textwrap.wrap(name, _SMALL_LINE)[:2]:
        pen.text((left, top), line, _QUIET, _font(13))
        top += 18
    return top + 2


def _paste(picture: Image.Image, image: np.ndarray, left: int, top: int, size: int) -> int:
    """Pastes an image no larger than ``size``; returns its height."""
    height, width = image.shape[:2]
    scale = size / max(height, width)
    shape = round(width * scale), round(height * scale)
    picture.paste(Image.fromarray(image).resize(shape, Image.Resampling.BICUBIC), (left, top))
    return shape[1]


def _banner(pen: ImageDraw.ImageDraw, moment: Moment) -> None:
    colour = _SOLVED if moment.outcome else _FAILED
    said = f"solved at step {moment.step}" if moment.outcome else "not solved"
    if not moment.faithful:
        said += " (replay ended in another state)"
    pen.rectangle((MARGIN, MARGIN + MAIN - 34, MARGIN + MAIN - 1, MARGIN + MAIN - 1), fill=colour)
    pen.text((MARGIN + 12, MARGIN + MAIN - 28), said, (255, 255, 255), _font(17))


def _progress(pen: ImageDraw.ImageDraw, left: int, top: int, share: float) -> None:
    pen.rectangle((left, top, left + SIDE - 1, top + 5), fill=(52, 56, 66))
    if share > 0:
        pen.rectangle((left, top, left + round((SIDE - 1) * min(share, 1.0)), top + 5), fill=(92, 140, 255))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
