"""What was learned from: parts, class counts, sizes, lengths, examples."""

from __future__ import annotations

from typing import Any

from headstart.report.figures.lengths import length_histogram
from headstart.report.folder import RunFolder
from headstart.report.formats import count, label_text, number, percent
from headstart.report.pictures import Album
from headstart.report.sample import shown
from headstart.report.schema.given import Lengths
from headstart.report.schema.report import Report
from headstart.report.sections.section import Section
from headstart.report.words import PARTS, inputs_name

EXAMPLE_TEXT = 160
"""Characters of a text that are shown as an example; more where it matters what a text says."""

PART_ORDER = ("train", "validation", "test")


def data(run: RunFolder, album: Album) -> Section:
    """Table of parts and classes, histogram of lengths, examples by class."""
    report = run.report
    counts = _class_counts(report)
    return Section(
        "data",
        "The data",
        "data.html",
        {
            "summary": _summary(report),
            "parts": [(PARTS.get(p, p), count(n)) for p, n in _ordered(report.data.parts).items()],
            "cross_validation": report.data.protocol == "cross-validation",
            "counts": counts,
            "numbers": _number_counts(report),
            "kind": report.task.kind,
            "imbalance": _imbalance(report),
            "examples": _examples(report, album),
            "modality": report.data.modality,
            "labelled": report.kind == "fit",
            "lengths": _lengths(report.data.lengths),
            "notes": report.data.notes,
        },
    )


def _ordered(parts: dict[str, Any]) -> dict[str, Any]:
    return {p: parts[p] for p in sorted(parts, key=lambda p: (*PART_ORDER, p).index(p))}


def _summary(report: Report) -> list[tuple[str, str]]:
    d = report.data
    rows = [("Data", d.name)]
    if d.samples is not None:
        rows.append((inputs_name(d.modality, None).capitalize(), count(d.samples)))
    if report.task.kind != "single-label" or report.task.name != "label":
        rows.append(("To predict", f"{report.task.name} ({report.task.kind})"))
    shapes = {k: " × ".join(str(v) for v in side) for k, side in d.sizes.items()}
    if shapes and d.modality != "image":
        smallest, largest = d.sizes.get("smallest", [0])[0], d.sizes.get("largest", [0])[0]
        unit = "characters" if d.modality == "text" else "time steps"
        middle = d.sizes.get("median", [0])[0]
        text = (
            count(middle) if smallest == largest else f"{count(smallest)} to {count(largest)}, middle {count(middle)}"
        )
        rows.append((f"Length in {unit}", text))
    elif shapes:
        same = len(set(shapes.values())) == 1
        text = next(iter(shapes.values())) if same else ", ".join(f"{k} {v}" for k, v in shapes.items())
        rows.append(("Size in pixels", text))
    if d.channels:
        named = {1: "1 (grey)", 3: "3 (colour)"} if d.modality == "image" else {}
        rows.append(("Channels", named.get(d.channels, str(d.channels))))
    if d.fingerprint:
        rows.append(("Fingerprint", d.fingerprint))
    return rows


def _class_counts(report: Report) -> dict[str, Any] | None:
    if report.task.kind == "regression" or not report.data.counts:
        return None
    counts = _ordered(report.data.counts)
    classes = list(dict.fromkeys([*report.task.classes, *(c for part in counts.values() for c in part)]))
    largest = max((n for part in counts.values() for n in part.values()), default=1) or 1
    rows = []
    for name in classes:
        cells = [(count(part.get(name, 0)), 100 * part.get(name, 0) / largest) for part in counts.values()]
        rows.append((name, cells))
    return {"parts": [PARTS.get(p, p) for p in counts], "rows": rows}


def _imbalance(report: Report) -> str:
    """A sentence where the largest class of training has at least five times the smallest, else ""."""
    train = report.data.counts.get("train", {})
    if report.task.kind == "regression" or len(train) < 2:
        return ""
    most, least = max(train, key=lambda c: train[c]), min(train, key=lambda c: train[c])
    if train[least] <= 0:
        return f"Training has no sample of {least}."
    if train[most] < 5 * train[least]:
        return ""
    times = train[most] / train[least]
    return f"Classes are uneven: training has {times:.0f} times as many samples of {most} as of {least}."


def _number_counts(report: Report) -> dict[str, Any] | None:
    if report.task.kind != "regression" or not report.data.counts:
        return None
    counts = _ordered(report.data.counts)
    keys = list(dict.fromkeys(k for part in counts.values() for k in part))
    titles = {"mean": "Mean", "std": "Standard deviation", "min": "Smallest", "max": "Largest"}
    rows = [(titles.get(k, k), [number(part.get(k)) for part in counts.values()]) for k in keys]
    return {"parts": [PARTS.get(p, p) for p in counts], "rows": rows}


def _examples(report: Report, album: Album) -> list[tuple[str, list[dict[str, Any]]]]:
    """Label and samples; fewer for each label where there are many labels."""
    by_label: dict[str, list[Any]] = {}
    for example in report.data.examples:
        by_label.setdefault(label_text(example.label), []).append(example)
    most = 8 if len(by_label) <= 12 else 4 if len(by_label) <= 30 else 2
    if report.data.modality == "text":
        most = 1
    made = []
    for label, examples in by_label.items():
        samples = []
        for example in examples[:most]:
            sample = shown(example, album, f"Sample {example.id} of {label}", EXAMPLE_TEXT)
            if sample is not None:
                samples.append(sample)
        if samples:
            made.append((label, samples))
    return made


def _lengths(lengths: Lengths | None) -> dict[str, Any] | None:
    if lengths is None or len(lengths.edges) != len(lengths.counts) + 1:
        return None
    said = ""
    if lengths.limit is not None:
        total = sum(lengths.counts)
        room = "in windows of" if lengths.long == "windows" else "up to"
        said = f"The network reads {room} {count(lengths.limit)} {lengths.unit}. "
        if lengths.truncated:
            share = percent(lengths.truncated / total) if total else ""
            said += f"{count(lengths.truncated)} training samples ({share}) are longer and lose their end"
            said += "." if lengths.lost_share is None else f": {percent(lengths.lost_share)} of all {lengths.unit}."
        else:
            said += "No training sample is longer."
    return {"figure": length_histogram(lengths, "lengths"), "said": said}
