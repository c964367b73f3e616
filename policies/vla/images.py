"""Camera images to the pixels a vision tower was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Channel statistics of CLIP's own training images (openai/CLIP, ``clip.py``)."""

BLACK = np.zeros((1, 1, 3), dtype=np.uint8)
"""What a blind policy is shown, before it is brought to the model's size."""


@dataclass(frozen=True, slots=True)
class PixelRecipe:
    """How an image becomes the input of a vision tower."""

    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD

    def __call__(self, image: np.ndarray, size: int) -> torch.Tensor:
        """(H, W, 3) uint8 to (3, size, size) float32, by Pillow's bicubic filter without a crop.

        The aspect ratio is not kept: the released models squeeze wide images too. Pillow's filter
        widens with the scale, unlike torch's, so another resampler changes the numbers.
        """
        from PIL import Image

        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"a camera image is (H, W, 3) uint8, not {image.shape} {image.dtype}")
        picture = Image.fromarray(image)
        if picture.size != (size, size):
            picture = picture.resize((size, size), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).to(torch.float32).div_(255)
        mean = torch.tensor(self.mean).view(3, 1, 1)
        std = torch.tensor(self.std).view(3, 1, 1)
        return pixels.sub_(mean).div_(std)

    def many(self, images: np.ndarray, size: int) -> torch.Tensor:
        """(n, H, W, 3) uint8 to (n, 3, size, size) float32: the same for each."""
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (size, size, 3) or not len(images):
            return torch.stack([self(np.ascontiguousarray(image), size) for image in images])
        # Whole lines at a time, (n, H, W * 3): a channel's constants side by side with the next one's.
        lines = torch.from_numpy(images).flatten(2).to(torch.float32).div_(255)
        lines.sub_(torch.tensor(self.mean).repeat(size)).div_(torch.tensor(self.std).repeat(size))
        return lines.unflatten(2, (size, 3)).permute(0, 3, 1, 2)
