"""What single answers rest on: tokens or time steps, weighed."""

from __future__ import annotations

from typing import Any

import numpy as np

from headstart.report.figures.sparkline import sparkline
from headstart.report.folder import RunFolder
from headstart.report.formats import clean, label_text, percent
from headstart.report.pictures import Album
from headstart.report.schema.answers import Importance, TokenValue
from headstart.report.schema.report import Report
from headstart.report.sections.section import Section

WIDE, HIGH = 520, 130


def importance(run: RunFolder, album: Album) -> Section:
    """Tokens with their weight as colour, series with it as shade, pictures under a map."""
    report = run.report
    return Section(
        "importance",
        "What single answers rest on",
        "importance.html",
        {"rows": [_row(report, row, album) for row in report.importance], "modality": report.data.modality},
    )


def _row(report: Report, row: Importance, album: Album) -> dict[str, Any]:
    curve = None
    if row.series is not None and row.values:
        weight = np.abs(np.asarray(row.values)).sum(0)
        shades = (weight / weight.max()).tolist() if weight.max() > 0 else None
        curve = sparkline(row.series, f"Sample {row.id}", WIDE, HIGH, shades)
    return {
        "id": row.id,
        "label": label_text(row.label),
        "predicted": label_text(row.predicted),
        "right": row.label == row.predicted or report.task.kind == "regression",
        "confidence": percent(row.confidence) if row.confidence is not None else "",
        "curve": curve,
        "pictures": [p for path in (row.picture, row.map) if (p := album.thumbnail(path)) is not None],
        "tokens": _tokens(row.tokens),
        "channels": _channels(row),
    }


def _tokens(tokens: list[TokenValue]) -> list[dict[str, Any]]:
    """Pieces of words with sign and strength; strength is relative to the strongest of the text."""
    most = max((abs(t.value) for t in tokens), default=0.0) or 1.0
    # Some tokenizers mark what continues a word (##), others what begins one.
    marked = any(t.token[:1] in ("▁", "Ġ") for t in tokens)
    made = []
    for token in tokens:
        text = clean(token.token)
        joined = not text.startswith(("▁", "Ġ")) if marked else text.startswith("##")
        strength = abs(token.value) / most
        made.append(
            {
                "text": text.removeprefix("##").lstrip("▁Ġ") or "·",
                "joined": joined,
                "sign": "for" if token.value > 0 else "against",
                "strength": f"{strength:.2f}",
                "seen": strength >= 0.08,
            }
        )
    return made


def _channels(row: Importance) -> list[tuple[str, str]]:
    """Channels by their share of the whole weight, the largest first; nothing where there is one."""
    if row.series is None or len(row.values) < 2:
        return []
    weight = np.abs(np.asarray(row.values)).sum(1)
    if not weight.sum():
        return []
    names = row.series.channels or [str(i) for i in range(len(weight))]
    order = np.argsort(-weight, kind="stable")[:4]
    return [(clean(names[i], 24), percent(float(weight[i] / weight.sum()))) for i in order]
