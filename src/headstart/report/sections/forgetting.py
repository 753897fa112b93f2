"""What the network forgot of what it was pretrained for."""

from __future__ import annotations

from headstart.report.folder import RunFolder
from headstart.report.formats import count, number, percent
from headstart.report.sections.section import Section
from headstart.report.words import metric_words


def forgetting(run: RunFolder) -> list[Section]:
    """Sentences; no section where nothing could be asked."""
    found = run.report.forgetting
    if found is None:
        return []
    said = []
    if (source := found.source) is not None:
        words = metric_words(source.metric)
        show = percent if words.percent else number
        said.append(
            f"{words.title} on the {source.part} part of {source.run}, where the network comes from "
            f"({count(source.n)} samples): {show(source.before)} before, {show(source.after)} after."
        )
    if (drift := found.drift) is not None:
        said.append(
            f"To {percent(drift.same)} of {count(drift.n)} samples the classifier that the network was pretrained with "
            f"still gives the same answer; its probabilities have moved by {number(drift.divergence)} nats on average "
            "(Kullback-Leibler divergence)."
        )
    return [Section("forgetting", "What it forgot", "forgetting.html", {"said": said})] if said else []
