"""Pictures in a fit."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from headstart.data import Dataset
from headstart.features.screen import sizes_to_try
from headstart.models.backbone import Backbone
from headstart.models.pictures import square
from headstart.models.raw import RawPixels
from headstart.store.atomic import replacing
from headstart.verbs.modalities.base import Modality, RawBaseline, raw_probe

if TYPE_CHECKING:
    from headstart.verbs.job import Job

THUMBNAIL = 96


class Pictures(Modality):
    """Sizes from the pictures' own, pixels as the baseline, thumbnails in the report."""

    name = "image"
    default_model = "sample:efficientnet_lite0"
    offline_models = ("sample:efficientnet_lite0", "sample:efficientnet_lite1", "sample:efficientnet_lite2")
    unit = "px"
    raw_title = "{model}, pixels"
    raw_words = "a linear model on raw pixels"
    foreign = frozenset({"max_length", "pooling", "long", "vocabulary", "series", "id", "time", "window", "stride"})

    def sizes(self, job: Job, backbone: Backbone) -> list[int]:
        if job.options.image_size != "auto":
            return [job.options.image_size]
        spec = backbone.input_spec
        return sizes_to_try(spec.native_size, spec.fixed_size, median_side(job.parts["screen"]))

    def raw_baseline(self, job: Job) -> RawBaseline:
        return raw_probe(job, RawPixels(job.dataset.schema.channels or 3))

    def facets(self, data: Dataset, most: int) -> dict[str, np.ndarray]:
        sizes = np.asarray(data.sizes)
        return {"shorter side (px)": sizes.min(1), "brightness": brightness(data, most)}

    def shown(self, job: Job, data: Dataset, i: int) -> dict[str, Any]:
        """A small PNG in pictures/, named by the sample's id."""
        path = job.folder.pictures / f"{_file(data, i)}.png"
        if not path.exists():
            picture = thumbnail(data, i)
            _write(path, picture[..., 0] if picture.shape[2] == 1 else picture)
        return {"picture": f"pictures/{path.name}"}

    def weighed(self, job: Job, data: Dataset, i: int, backbone: Backbone, values: np.ndarray) -> dict[str, Any]:
        """The small picture, and the same under the map of what the answer rests on."""
        path = job.folder.pictures / f"{_file(data, i)}-weighed.png"
        _write(path, under_map(thumbnail(data, i), values))
        return {**self.shown(job, data, i), "map": f"pictures/{path.name}"}


def thumbnail(data: Dataset, i: int) -> np.ndarray:
    """(S, S, 1 or 3) uint8: the centre of a picture, at most 96 px a side."""
    picture = data.read(i, size_hint=THUMBNAIL).inputs
    if picture.dtype != np.uint8:
        picture = (np.clip(picture, 0, 1) * 255).astype(np.uint8)
    picture = picture if picture.shape[2] in (1, 3) else picture[..., :1]
    return square(picture, min(THUMBNAIL, *picture.shape[:2]))


def under_map(picture: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(96, 96, 3) uint8: the picture in grey with the map over it, yellow where the answer rests, blue where not."""
    from matplotlib import colormaps

    large = (THUMBNAIL, THUMBNAIL)
    grey = Image.fromarray(picture.mean(2).astype(np.uint8)).resize(large)
    heat = Image.fromarray((values / max(float(values.max()), 1e-12)).astype(np.float32))
    heat_ = np.asarray(heat.resize(large, Image.Resampling.BICUBIC)).clip(0, 1)
    colour = colormaps["cividis"](heat_)[..., :3] * 255
    return (0.45 * np.asarray(grey)[..., None] + 0.55 * colour).astype(np.uint8)


def _file(data: Dataset, i: int) -> str:
    return hashlib.blake2b(str(data.ids[i]).encode(), digest_size=8).hexdigest()


def _write(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")


def brightness(data: Dataset, most: int) -> np.ndarray:
    """(N,) mean of the pixels, from 0 to 1, of the first `most` pictures."""
    found = np.full(len(data), np.nan)
    for i in range(min(most, len(data))):
        picture = data.read(i, size_hint=THUMBNAIL).inputs
        found[i] = picture.mean() / (255 if picture.dtype == np.uint8 else 1)
    return found


def median_side(part: Dataset) -> float:
    """Median shorter side of the pictures, in pixels."""
    return float(np.median(np.asarray(part.sizes).min(axis=1)))
