"""How images are made ready for a server, by the names a mapping uses; all (H, W, 3) uint8 in and out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

from vla_bench.policies.errors import PolicyError


def resize_with_pad(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """openpi's ``resize_with_pad``: Pillow's bilinear filter on the whole image, black borders, more of them at the
    bottom and the right (openpi_client/image_tools.py 0.1.2)."""
    from PIL import Image

    had_height, had_width = image.shape[:2]
    if (had_height, had_width) == (height, width):
        return image
    ratio = max(had_width / width, had_height / height)
    inner_height, inner_width = int(had_height / ratio), int(had_width / ratio)
    resized = Image.fromarray(image).resize((inner_width, inner_height), resample=Image.Resampling.BILINEAR)
    padded = np.zeros((height, width, 3), dtype=np.uint8)
    top, left = max(0, int((height - inner_height) / 2)), max(0, int((width - inner_width) / 2))
    padded[top : top + inner_height, left : left + inner_width] = np.asarray(resized)
    return padded


def resize_pillow(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pillow's bilinear filter, squashed to the size."""
    from PIL import Image

    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), resample=Image.Resampling.BILINEAR))


def resize_torch(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """torchvision's ``Resize`` of a uint8 tensor, for enlarging: bilinear between pixel centres, rounded."""
    rows, columns = _weights(image.shape[0], height), _weights(image.shape[1], width)
    across = np.einsum("hwc,xw->hxc", image.astype(np.float32), columns)
    return np.rint(np.einsum("hxc,yh->yxc", across, rows)).astype(np.uint8)


def _weights(had: int, wanted: int) -> np.ndarray:
    """(wanted, had) float32: what each pixel takes from its two neighbours."""
    centres = np.clip((np.arange(wanted) + 0.5) * had / wanted - 0.5, 0, had - 1)
    low = np.floor(centres).astype(int)
    high = np.minimum(low + 1, had - 1)
    weights = np.zeros((wanted, had), dtype=np.float32)
    np.add.at(weights, (np.arange(wanted), low), 1 - (centres - low))
    np.add.at(weights, (np.arange(wanted), high), centres - low)
    return weights


def _opencv(flag: str) -> Callable[[np.ndarray, int, int], np.ndarray]:
    def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
        if image.shape[:2] == (height, width):
            return image
        try:
            import cv2
        except ImportError:
            raise PolicyError(
                f"a mapping resizes by OpenCV ({flag}), which is not installed: pip install opencv-python-headless"
            ) from None
        return cv2.resize(image, (width, height), interpolation=getattr(cv2, flag))

    return resize


RESIZE: Mapping[str, Callable[[np.ndarray, int, int], np.ndarray]] = {
    "pad": resize_with_pad,
    "pillow": resize_pillow,
    "torch": resize_torch,
    "area": _opencv("INTER_AREA"),
    "linear": _opencv("INTER_LINEAR"),
}
"""Rules by which an image gets its size."""

FLIP: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda image: image,
    "horizontal": lambda image: image[:, ::-1],
    "vertical": lambda image: image[::-1],
    "both": lambda image: image[::-1, ::-1],
}
"""What is turned round: left and right, top and bottom, or both (a half turn)."""


@cache
def truncation() -> np.ndarray:
    """(256,) uint8: what becomes of a value that goes to [-1, 1] in float32 and back, cut off instead of rounded, as in
    vla-eval's CALVIN client: 63 of the 256 come out one lower."""
    values = np.arange(256, dtype=np.float32) / np.float32(255)
    scaled = (values - np.float32(0.5)) / np.float32(0.5)
    return ((scaled + np.float32(1)) / np.float32(2) * np.float32(255)).astype(np.uint8)


def prepared(image: np.ndarray, how: Mapping[str, Any]) -> np.ndarray:
    """An image (H, W, 3) as a mapping wants it: flipped, resized, in C order."""
    image = FLIP[how.get("flip", "none")](image)
    if how.get("size"):
        height, width = how["size"]
        image = RESIZE[how.get("resize", "pad")](np.ascontiguousarray(image), height, width)
    if how.get("truncated"):
        image = truncation()[image]
    if how.get("channels") == "bgr":
        image = image[..., ::-1]
    return np.ascontiguousarray(image)
