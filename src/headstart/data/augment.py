"""Random views of pictures: drawn per sample on the CPU, applied to whole batches where the batch lies.

What is drawn for a sample depends on its seed alone, which is a function of (run seed, epoch, sample id, view).
Geometry is one affine map per sample and colour one line per channel, so a batch costs one `grid_sample`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Augmentation:
    """Ranges that random views are drawn from; all 0 is no augmentation.

    Attributes
    ----------
    rotate
        Largest angle, degrees.
    zoom
        Scale of the visible part is drawn from [1 - zoom, 1 + zoom / 2], log-uniformly.
    stretch
        Aspect ratio from [1 / (1 + stretch), 1 + stretch].
    shear
        Largest shear angle, degrees.
    shift
        Largest shift, as a share of the side.
    flip
        Probability of mirroring left to right.
    brightness, contrast, saturation
        Largest relative change.
    erase
        Probability of erasing a box of 2% to 20% of the area (random erasing, Zhong et al. 2020, arXiv 1708.04896).
    """

    rotate: float = 0.0
    zoom: float = 0.0
    stretch: float = 0.0
    shear: float = 0.0
    shift: float = 0.0
    flip: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    erase: float = 0.0

    def draw(self, seed: int) -> dict[str, Tensor]:
        """Parameters of one view: `affine` (2, 3), `colour` (3,), `erase` (4,) as shares of the picture."""
        r = np.random.Generator(np.random.PCG64(seed))
        u = r.uniform(-1, 1, 12)
        angle, shear = math.radians(self.rotate * u[0]), math.tan(math.radians(self.shear * u[1]))
        scale = math.exp(_between(u[2], math.log(max(1 - self.zoom, 0.05)), math.log(1 + self.zoom / 2)))
        ratio = math.exp(u[3] * math.log1p(self.stretch) / 2)
        mirror = -1.0 if r.random() < self.flip else 1.0
        c, s = math.cos(angle), math.sin(angle)
        rotation = np.array([[c, -s], [s, c]])
        shape = np.array([[scale * ratio * mirror, shear], [0.0, scale / ratio]])
        affine = np.concatenate([rotation @ shape, [[2 * self.shift * u[4]], [2 * self.shift * u[5]]]], axis=1)
        colour = 1 + np.array([self.brightness, self.contrast, self.saturation]) * u[6:9]
        box = np.zeros(4)
        if r.random() < self.erase:
            area, aspect = r.uniform(0.02, 0.2), math.exp(r.uniform(-1.2, 1.2))
            h, w = min(math.sqrt(area * aspect), 0.9), min(math.sqrt(area / aspect), 0.9)
            top, left = r.uniform(0, 1 - h), r.uniform(0, 1 - w)
            box = np.array([top, left, top + h, left + w])
        as32 = {"affine": affine, "colour": colour, "erase": box}
        return {k: torch.from_numpy(v.astype(np.float32)) for k, v in as32.items()}

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def _between(u: float, low: float, high: float) -> float:
    return low + (high - low) * (u + 1) / 2


def apply_views(x: Tensor, affine: Tensor, colour: Tensor, erase: Tensor) -> Tensor:
    """Apply drawn views to a batch.

    Parameters
    ----------
    x
        (B, C, H, W) float in [0, 1].
    affine, colour, erase
        (B, 2, 3), (B, 3) and (B, 4), as drawn by `Augmentation.draw`.

    Returns
    -------
    Tensor
        (B, C, H, W), in [0, 1]. Outside the picture its edge is repeated.
    """
    identity = affine.new_tensor([[1.0, 0, 0], [0, 1, 0]])
    if not torch.equal(affine, identity.expand_as(affine)):
        raster = F.affine_grid(affine, list(x.shape), align_corners=False)
        x = F.grid_sample(x, raster.to(x.dtype), mode="bilinear", padding_mode="border", align_corners=False)
    if not bool((colour == 1).all()):
        brightness, contrast, saturation = (c.view(-1, 1, 1, 1) for c in colour.to(x.dtype).unbind(1))
        if x.shape[1] == 3:
            grey = (x * x.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
            x = grey + (x - grey) * saturation
        mean = x.mean((1, 2, 3), keepdim=True)
        x = ((x - mean) * contrast + mean * brightness).clamp(0, 1)
    if bool(erase.any()):
        rows = torch.linspace(0, 1, x.shape[2], device=x.device).view(1, -1, 1)
        columns = torch.linspace(0, 1, x.shape[3], device=x.device).view(1, 1, -1)
        top, left, bottom, right = (e.view(-1, 1, 1) for e in erase.unbind(1))
        inside = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
        x = torch.where(inside[:, None], x.mean((1, 2, 3), keepdim=True), x)
    return x


# "light" stays within what a person with a camera varies without meaning to; "strong" is for small data and long
# training. Mirroring is added only where the probe shows that the classes survive it (see verbs/frozen.py).
POLICIES: dict[str, Augmentation] = {
    "none": Augmentation(),
    "light": Augmentation(
        rotate=10,
        zoom=0.12,
        stretch=0.1,
        shear=5,
        shift=0.06,
        brightness=0.15,
        contrast=0.15,
        saturation=0.15,
    ),
    "strong": Augmentation(
        rotate=20,
        zoom=0.3,
        stretch=0.25,
        shear=10,
        shift=0.1,
        brightness=0.3,
        contrast=0.3,
        saturation=0.3,
        erase=0.25,
    ),
}
