"""maps.parquet of an adaptation: both domains on two axes, before and after."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from headstart.store.atomic import replacing
from headstart.verbs.domain.attempt import Attempt
from headstart.verbs.domain.pair import TARGET, Pair
from headstart.verbs.frozen import MAP_SAMPLES, FrozenProbe
from headstart.verbs.showing import two_components


def write_maps(pair: Pair, start: FrozenProbe | None, plain: Attempt, taken: Attempt, p: np.ndarray) -> None:
    """Write both domains before (frozen features) and after (those of the model handed back).

    Parameters
    ----------
    start
        Where frozen features are read; None where there are no source data. Then the target stands alone, before on
        the features of the unadapted model.
    plain, taken
        The attempt that knows nothing of the target, and the one that is handed back.
    p
        (M, C) answers on the target.
    """
    job = pair.job
    if start is None:
        first = [plain.source.features, plain.target.features]
    else:
        place = (start.stage, start.grid)
        first = [job.features(start.size, part, [place])[place].numpy() for part in ("validation", TARGET)]
    rows = [np.random.default_rng(i).permutation(len(x))[: MAP_SAMPLES // 2] for i, x in enumerate(first)]
    n = [len(r) for r in rows]
    before = np.concatenate([x[r] for x, r in zip(first, rows, strict=True)])
    after = np.concatenate([taken.source.features[rows[0]], taken.target.features[rows[1]]])
    classes = np.array(job.task.classes)
    known = classes[:0] if start is None else classes[job.labels("validation")[rows[0]]]
    frame: dict[str, Any] = {
        "domain": ["source"] * n[0] + ["target"] * n[1],
        "label": np.r_[known, classes[p.argmax(1)[rows[1]]]],
    }
    for name, x in (("before", before), ("after", after)):
        points = two_components(x)
        frame[f"{name}_x"], frame[f"{name}_y"] = points.T
        # The target by itself: on the axes of both, what tells domains apart hides what tells classes apart.
        own = np.full_like(points, np.nan)
        own[n[0] :] = two_components(x[n[0] :])
        frame[f"own_{name}_x"], frame[f"own_{name}_y"] = own.T
    with replacing(job.folder.maps) as path:
        pd.DataFrame(frame).to_parquet(path)
