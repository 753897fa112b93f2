"""From a decoded picture to what a vision network takes. Saved with the model as its `InputSpec`."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from headstart.data.augment import Augmentation, apply_views
from headstart.models.backbone import InputSpec, State

_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}


def square(picture: np.ndarray, size: int, interpolation: str = "bicubic") -> np.ndarray:
    """The centre square of a picture at size × size; (H, W, C) -> (size, size, C), dtype kept (uint8 or float32)."""
    height, width, channels = picture.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    picture = picture[top : top + side, left : left + side]
    if side == size:
        return picture
    filter_ = _FILTERS.get(interpolation, Image.Resampling.BICUBIC)
    if picture.dtype == np.uint8 and channels in (1, 3):
        image = Image.fromarray(picture[..., 0] if channels == 1 else np.ascontiguousarray(picture))
        out = np.asarray(image.resize((size, size), filter_, reducing_gap=3.0))
        return out[..., None] if channels == 1 else out
    layers = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(picture[..., c], dtype=np.float32)).resize((size, size), filter_)
        )
        for c in range(channels)
    ]
    out = np.stack(layers, axis=-1)
    return np.clip(np.rint(out), 0, 255).astype(np.uint8) if picture.dtype == np.uint8 else out


def picture_state(picture: np.ndarray, spec: InputSpec, augmentation: Augmentation | None, seed: int) -> State:
    """One picture as tensors: `x` (C, S, S) as stored, and the drawn view where an augmentation is given.

    Pictures already at the network's size (from a store) are taken as they are.
    """
    x = torch.from_numpy(square(picture, spec.size, spec.interpolation).transpose(2, 0, 1).copy())
    return {"x": x, **augmentation.draw(seed)} if augmentation is not None else {"x": x}


def collate_pictures(states: list[State]) -> State:
    """Stack pictures; where grey and colour meet in one batch, grey is repeated to colour."""
    channels = {s["x"].shape[0] for s in states}
    if channels == {1, 3}:
        states = [{**s, "x": s["x"].expand(3, -1, -1)} for s in states]
    if len({s["x"].dtype for s in states}) > 1:  # bytes among floating point, which is on the scale 0 to 1 already
        states = [{**s, "x": s["x"] / 255 if s["x"].dtype == torch.uint8 else s["x"]} for s in states]
    return {key: torch.stack([s[key] for s in states]) for key in states[0]}


def to_network(inputs: State, spec: InputSpec, channels_last: bool) -> State:
    """Scale to [0, 1], apply drawn views, fit the channels, normalise; runs where the batch lies."""
    x = inputs["x"]
    if channels_last:  # as bytes, a quarter of the work; what follows keeps the order
        x = x.contiguous(memory_format=torch.channels_last)
    if x.dtype == torch.uint8:
        x = x.float().div_(255)
    if "affine" in inputs:
        x = apply_views(x, inputs["affine"], inputs["colour"], inputs["erase"])
    if x.shape[1] == 1:
        x = x.expand(-1, spec.channels, -1, -1)
    mean, std = (torch.tensor(v, device=x.device).view(1, -1, 1, 1) for v in (spec.mean, spec.std))
    x = (x - mean).div_(std)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    rest = {k: v for k, v in inputs.items() if k not in ("x", "affine", "colour", "erase")}
    return {**rest, "x": x}
