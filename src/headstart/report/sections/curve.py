"""What more labels would be worth."""

from __future__ import annotations

from headstart.report.figures.learning import learning_figure
from headstart.report.folder import RunFolder
from headstart.report.formats import count
from headstart.report.schema.evidence import Gain
from headstart.report.sections.section import Section
from headstart.report.words import MetricWords, less_or_more, metric_words


def curve(run: RunFolder) -> list[Section]:
    """The learning curves of probe and fine-tuning with their laws; no section where there were too few labels."""
    report, shown = run.report, []
    for found, name in ((report.curve, "probe"), (report.tuned_curve, "tuned")):
        if found is None or len(found.points) < 2:
            continue
        words = metric_words(found.metric)
        shown.append(
            {
                "name": name,
                "figure": learning_figure(found, words.higher, words.title, f"learning-{name}"),
                "gains": [gain_text(gain, words) for gain in found.gains],
            }
        )
    if not shown:
        return []
    return [Section("labels", "What more labels would be worth", "curve.html", {"curves": shown})]


def gain_text(gain: Gain, words: MetricWords) -> str:
    """Such as "1,000 labels more: about +0.4 points of accuracy (0.1 to 0.9)", "about 0.4 less log loss"."""
    title = words.title if words.title.isupper() else words.title.lower()
    if not words.higher:
        about = less_or_more(gain.value, gain.low, gain.high, title)
    else:
        factor, unit, digits = (100, " points of", 1) if words.percent else (1, " in", 3)
        about = f"{factor * gain.value:+.{digits}f}{unit} {title}"
        if gain.low is not None and gain.high is not None:
            about += f" ({factor * gain.low:.{digits}f} to {factor * gain.high:.{digits}f})"
    return f"{count(gain.more)} labels more: about {about}"
