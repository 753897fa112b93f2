"""Pictures in a fit."""

from __future__ import annotations

import hashlib
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
    raw_name = "Logistic regression, pixels"
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
        name = hashlib.blake2b(str(data.ids[i]).encode(), digest_size=8).hexdigest()
        path = job.folder.pictures / f"{name}.png"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            picture = data.read(i, size_hint=THUMBNAIL).inputs
            if picture.dtype != np.uint8:
                picture = (np.clip(picture, 0, 1) * 255).astype(np.uint8)
            picture = picture if picture.shape[2] in (1, 3) else picture[..., :1]
            picture = square(picture, min(THUMBNAIL, *picture.shape[:2]))
            with replacing(path) as temporary:
                Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture).save(temporary, format="PNG")
        return {"picture": f"pictures/{path.name}"}


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
