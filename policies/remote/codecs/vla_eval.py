"""vla-eval's msgpack envelope: ``type, payload, seq, timestamp``, arrays in maps with text keys.

Written after ``vla_eval/protocol`` 0.8.0. Images go out raw: its servers take that at their defaults, and PNG costs
tens of milliseconds a decision.
"""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgpack
import numpy as np

from vla_bench.policies.remote.codecs.bounds import (
    LARGEST_IMAGE,
    LARGEST_MESSAGE,
    array_from,
    checked_shape,
    packable,
    unpacked,
)
from vla_bench.policies.remote.codecs.openpi import Encoder
from vla_bench.policies.remote.errors import MessageFault

PROTOCOL_VERSION = 1
TYPES = ("hello", "observation", "action", "episode_start", "episode_end", "error")
_FIELDS = ("type", "payload", "seq", "timestamp")
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True, slots=True)
class Message:
    """One message, either way."""

    type: str
    """One of :data:`TYPES`."""
    payload: Mapping[str, Any]
    seq: int = 0
    """Of a reply: that of what it answers."""
    timestamp: float = field(default_factory=time.time)
    """Seconds since 1970."""


def encode(message: Message, images: str = "raw") -> bytes:
    """The bytes of a message; ``images``: ``raw``, ``png`` or ``jpeg`` for arrays (H, W, 1, 3 or 4) of uint8."""
    whole = envelope(message)
    if images == "raw":
        return msgpack.packb(whole, default=_plain)
    return msgpack.packb(whole, default=lambda value: _image(value, images) or _plain(value))


def envelope(message: Message) -> dict[str, Any]:
    """The map that is sent."""
    return {name: getattr(message, name) for name in _FIELDS}


def encoder() -> Encoder:
    """One that keeps its memory, for maps of :func:`envelope`, images raw."""
    return Encoder(_plain)


def decode(data: bytes | bytearray, largest: int = LARGEST_MESSAGE) -> Message:
    """The message in the bytes; MessageFault: there is none, a field is missing, or its type is unknown."""
    whole = unpacked(data, _array, largest)
    if not isinstance(whole, dict):
        raise MessageFault(f"a message that is a {type(whole).__name__}, not a map")
    missing = [name for name in _FIELDS if name not in whole]
    if missing:
        raise MessageFault(f"a message without {', '.join(missing)}")
    kind, payload, seq, timestamp = (whole[name] for name in _FIELDS)
    if not isinstance(kind, str) or kind not in TYPES:
        raise MessageFault(f"a message of type {str(kind)[:40]!r}")
    if not isinstance(payload, dict) or type(seq) is not int or not isinstance(timestamp, int | float):
        raise MessageFault("a message whose payload, seq or timestamp is not what it should be")
    return Message(kind, payload, seq, timestamp)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biuf":
            raise ValueError(f"an array of {value.dtype} cannot be sent")
        return {
            "__ndarray__": True,
            "data": packable(value),
            "dtype": value.dtype.str,
            "shape": list(value.shape),
        }
    if isinstance(value, np.integer | np.floating | np.bool_):
        return value.item()
    raise ValueError(f"a {type(value).__name__} cannot be sent")


def _image(value: Any, kind: str) -> dict[str, Any] | None:
    picture = isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 3 and value.size
    if not picture or value.shape[2] not in _MODES or (kind == "jpeg" and value.shape[2] != 3):
        return None
    from PIL import Image

    buffer = io.BytesIO()
    pixels = value[..., 0] if value.shape[2] == 1 else value
    Image.fromarray(pixels).save(buffer, kind.upper(), **({"quality": 95} if kind == "jpeg" else {}))
    return {"__image__": True, "format": kind, "data": buffer.getvalue(), "shape": list(value.shape)}


def _array(value: dict[Any, Any]) -> Any:
    if "__image__" in value:
        return _pixels(value)
    if "__ndarray__" in value:
        return array_from(value.get("dtype"), value.get("data"), value.get("shape"), kinds="biuf").copy()
    return value


def _pixels(value: dict[Any, Any]) -> np.ndarray:
    shape, data, kind = checked_shape(value.get("shape")), value.get("data"), value.get("format")
    if len(shape) != 3 or shape[2] not in _MODES or not all(0 < side <= LARGEST_IMAGE for side in shape[:2]):
        raise MessageFault(f"an image of shape {shape}")
    if kind == "raw":
        return array_from(value.get("dtype", "|u1"), data, list(shape), kinds="biuf").copy()
    if kind not in ("png", "jpeg") or not isinstance(data, bytes):
        raise MessageFault(f"an image of format {str(kind)[:20]!r}")
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=[kind.upper()]) as image:
            if image.size != (shape[1], shape[0]):  # before a pixel is unpacked
                raise MessageFault(f"an image of {image.size} pixels that is said to be {shape}")
            pixels = np.array(image.convert(_MODES[shape[2]]))
    except MessageFault:
        raise
    except Exception as error:  # whatever Pillow makes of hostile bytes
        raise MessageFault(f"an image that cannot be read: {type(error).__name__}") from None
    return pixels.reshape(shape)
