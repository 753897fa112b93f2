"""The last sections: cost, where the model comes from, how to use it, how to get the same again."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from headstart.report.folder import RunFolder
from headstart.report.formats import clean, count, duration, memory, percent, setting
from headstart.report.schema.given import Vocabulary
from headstart.report.sections.section import Section


def cost(run: RunFolder) -> Section:
    """Seconds by part, memory, weights."""
    c = run.report.cost
    total = c.seconds or sum(c.parts.values())
    parts = sorted(c.parts.items(), key=lambda item: -item[1])
    longest = max(c.parts.values(), default=0) or 1
    rows: list[tuple[str, str]] = []
    if total:
        rows.append(("Time", duration(total)))
    if c.peak_memory_mb is not None:
        rows.append(("Peak memory", memory(c.peak_memory_mb)))
    if c.device:
        threads = f", {c.threads} threads" if c.threads else ""
        rows.append(("Device", f"{c.device}{threads}"))
    weights = c.parameters
    if weights.total:
        rows.append(("Weights in the model", count(weights.total)))
    if weights.trained is not None:
        share = f" ({percent(weights.trained / weights.total)})" if weights.total else ""
        rows.append(("of these trained", count(weights.trained) + share))
    bars = [(name.replace("_", " "), duration(s), 100 * s / longest, percent(s / total) if total else "")
            for name, s in parts]  # fmt: skip
    notes = [n.text for n in run.report.notes if n.topic == "speed"]
    return Section("cost", "What it cost", "cost.html", {"rows": rows, "bars": bars, "notes": notes})


def provenance(run: RunFolder) -> Section:
    """Where the pretrained weights come from and what of them is kept."""
    m = run.report.model
    stage = m.stage or ""
    if stage and m.truncated:
        stage += " (the network ends there; later stages are dropped)"
    rows = [
        ("Reference", m.reference),
        ("Architecture", f"{m.architecture} ({m.family})" if m.family else m.architecture),
        ("Source", m.source),
        ("Licence", m.licence),
        ("Last stage used", stage),
        ("Pooling grid", f"{m.grid} × {m.grid}" if m.grid and run.report.data.modality == "image" else ""),
        ("Picture size", f"{m.image_size} × {m.image_size} pixels" if m.image_size else ""),
        ("Most tokens at once", count(m.max_length) if m.max_length else ""),
        ("Positions to one vector", m.pooling or ""),
        ("Vocabulary", _words(m.vocabulary) or (f"{count(m.tokens)} tokens" if m.tokens else "")),
        ("SHA-256 of the weights", m.weights_sha256),
    ]
    values = {"rows": [(k, v) for k, v in rows if v], "notes": m.notes}
    return Section("model", "Where the model comes from", "model.html", values)


def further_use(run: RunFolder) -> Section:
    """How a pretrained network is carried over."""
    return Section("use", "How to use it", "further.html", {"path": shlex.quote(shown_path(run.path))})


def _words(vocabulary: Vocabulary | None) -> str:
    if vocabulary is None:
        return ""
    new = vocabulary.total - vocabulary.shared
    return f"{count(vocabulary.total)} tokens: {count(vocabulary.shared)} brought their embedding, {count(new)} are new"


def usage(run: RunFolder) -> Section:
    """Commands for this run, relative to the folder that runs are made in."""
    path = shown_path(run.path)
    values = {
        "finished": run.report.status == "finished",
        "path": shlex.quote(path),
        "literal": repr(path),
        "inputs": "new/*.jpg" if run.report.data.modality == "image" else "new.csv",
        "example": '["new.jpg"]' if run.report.data.modality == "image" else '"new.csv"',
        "bundle": (run.path / "bundle").is_dir(),
        "parent": "runs/" if path.startswith("runs/") else "the run folder",
    }
    return Section("use", "How to use it", "use.html", values)


def shown_path(folder: Path) -> str:
    """The folder as one would type it, without places that exist on one machine only.

    >>> shown_path(Path("/home/me/project/runs/flowers"))
    'runs/flowers'
    """
    folder = folder.resolve()
    name = clean(folder.name)
    return f"runs/{name}" if folder.parent.name == "runs" else name


def reproduction(run: RunFolder) -> Section:
    """Seeds, versions, options."""
    report = run.report
    rows: list[tuple[str, str]] = []
    if report.seeds:
        rows.append(("Seed" if len(report.seeds) == 1 else "Seeds", ", ".join(map(str, report.seeds))))
    if report.split_seed is not None:
        rows.append(("Seed of the split", str(report.split_seed)))
    if report.created:
        rows.append(("Made", report.created.replace("T", " ")))
    rows += [(name, version) for name, version in report.versions.items()]
    options: list[tuple[str, Any]] = [(k, setting(v)) for k, v in report.options.items()]
    values = {"rows": rows, "options": options}
    return Section("reproduce", "How to get the same again", "reproduce.html", values)
