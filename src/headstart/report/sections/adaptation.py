"""The page of an adaptation: what was tried, what decided, how far apart the domains lie, what changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headstart.report.figures.domains import confidence_histogram, validator_curve
from headstart.report.figures.palette import styles
from headstart.report.figures.reliability import reliability
from headstart.report.figures.scatter import feature_maps
from headstart.report.folder import RunFolder
from headstart.report.formats import count, duration, estimate, interval, number, percent, short_count
from headstart.report.pictures import Album
from headstart.report.sample import shown
from headstart.report.schema.answers import Bin
from headstart.report.schema.given import Shown
from headstart.report.schema.part import Estimate
from headstart.report.sections.adaptation_seeds import adaptation_seeds
from headstart.report.sections.facts import cost, provenance, reproduction, usage
from headstart.report.sections.remarks import remarks
from headstart.report.sections.section import Section
from headstart.report.words import STATUSES, UNFINISHED

VERDICTS = {
    "positive": ("Adapting helped", "good"),
    "negative": ("Adapting hurt", "bad"),
    "inconclusive": ("Not proven", "open"),
}


def adaptation_headline(run: RunFolder) -> dict[str, Any]:
    """Values for the head of the page."""
    report, a = run.report, run.report.adaptation
    method = report.strategy.name
    sentence = f"{report.model.reference} was carried from {report.data.name} without labels of the target"
    sentence += ", and without data of the source." if a.get("without_source") else "."
    if a:
        sentence += f" Of {len(a['attempts'])} attempts {method} is handed back; {a['validator']} decided."
    part = next((p for p in ("target-test (oracle)", "target (oracle)") if p in report.metrics), None)
    score, verdict = None, None
    value = None if part is None else report.metrics[part].get("accuracy")
    if part is not None and value is not None:
        score = {
            "value": estimate(value, True),
            "interval": interval(value, True),
            "title": f"Accuracy on the {part.removesuffix(' (oracle)').replace('-', ' ')} (oracle)",
            "meaning": "Share of right answers, by labels that nothing but this number saw.",
            "part": None,
            "n": None,
            "better": "Higher is better.",
        }
    if (v := a.get("verdict")) is not None:
        title, tone = VERDICTS[v["verdict"]]
        gap = Estimate(**v["gap"])
        text = f"By the oracle, compared with {v['compared_with']}, which knows nothing of the target."
        shown_gap = f"{100 * gap.value:+.1f} points"
        if gap.low is not None and gap.high is not None:
            shown_gap += f", 95% interval {100 * gap.low:+.1f} to {100 * gap.high:+.1f}"
        verdict = {"title": title, "tone": tone, "text": text, "beside": "", "gap": shown_gap}
    facts = [
        ("Method", method),
        ("Network", report.model.reference),
        ("Shift", a["shift"]["verdict"] if a.get("shift") else "not known" if a else ""),
        ("Target samples", short_count(report.data.parts.get("target"))),
        ("Time", duration(report.cost.seconds)),
    ]
    unlabelled = {
        "title": "How right it is on the target is not known",
        "text": "The target has no labels. Validators guess; a few labelled samples (--target-labels) would tell.",
    }
    return {
        "name": report.name or run.path.name,
        "sentence": sentence,
        "status": STATUSES.get(report.status, UNFINISHED),
        "score": score,
        **({"unscored": unlabelled} if a and score is None else {}),
        "verdict": verdict,
        "instead": "Adaptation was refused.",
        "fallback": a.get("refused") or "",
        "facts": [(k, v) for k, v in facts if v],
        "created": report.created.replace("T", " ")[:16],
    }


def adaptation_sections(run: RunFolder, album: Album) -> list[Section]:
    """Every section of the page."""
    if not run.report.adaptation:
        return [remarks(run), reproduction(run)]
    return [
        _attempts(run),
        *adaptation_seeds(run),
        *_curves(run),
        _unknown_shift(run) if run.report.adaptation.get("without_source") else _shift(run),
        _maps(run),
        _answers(run, album),
        cost(run),
        provenance(run),
        usage(run),
        remarks(run),
        reproduction(run),
    ]


def _attempts(run: RunFolder) -> Section:
    a = run.report.adaptation
    names = list(a["validators"])
    rows = []
    for attempt in a["attempts"]:
        oracle = attempt.get("oracle")
        rows.append(
            {
                "method": attempt["method"],
                "kind": "network" if attempt["kind"] == "deep" else "features",
                "taken": attempt["taken"],
                "decided": number(attempt.get("decided_by"), 3),
                "scores": [number(attempt["scores"].get(n), 3) for n in names],
                "oracle": None
                if oracle is None
                else f"{estimate(Estimate(**oracle), True)} ({interval(Estimate(**oracle), True)})",
                "seconds": duration(attempt["seconds"]),
                "notes": attempt["notes"],
            }
        )
    agreement = a.get("agreement")
    values = {
        "rows": rows,
        "validators": [(n, a["validators"][n]) for n in names],
        "decided": a["validator"],
        "oracle": any(row["oracle"] for row in rows),
        "agreement": None if not agreement else [number(agreement.get(n), 2) for n in names],
        "reasons": run.report.strategy.reasons,
    }
    return Section("result", "What was tried", "adaptation_attempts.html", values)


def _curves(run: RunFolder) -> list[Section]:
    a = run.report.adaptation
    by = a.get("epochs_by", a["validator"])
    figures = [
        (attempt["method"], validator_curve(attempt["curve"], by, attempt["method"], f"curve{i}"))
        for i, attempt in enumerate(a["attempts"])
        if len(attempt["curve"]) > 1
    ]
    return (
        [Section("training", "How it was learned", "adaptation_curves.html", {"figures": figures})] if figures else []
    )


def _shift(run: RunFolder) -> Section:
    a, shift = run.report.adaptation, run.report.adaptation["shift"]
    kept = [shift["before"], shift["after"]]
    return shift_section(shift["text"], kept, a["classes"], run.report.task.classes, a["shares"])


def _unknown_shift(run: RunFolder) -> Section:
    """What is not known without the source's data, and what the target's answers are."""
    rows = [(c["class"], count(c["target"])) for c in run.report.adaptation["classes"]]
    values = {"source": run.report.model.reference, "classes": rows}
    return Section("shift", "What is not known of the source", "adaptation_unknown.html", values)


def shift_section(
    text: str,
    kept: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    classes: list[str],
    shares: Mapping[str, list[float]],
) -> Section:
    """Distances (one column, or before and after), and class by class."""
    return Section(
        "shift",
        "How far apart the domains are",
        "adaptation_shift.html",
        {
            "text": text,
            "columns": ["before", "after"] if len(kept) > 1 else ["value"],
            "rows": distances(*kept),
            "classes": [
                {
                    "name": c["class"],
                    "source": count(c["source"]),
                    "target": count(c["target"]),
                    "moved": number(c.get("moved"), 2),
                }
                for c in rows
            ],
            "shares": _shares(classes, shares),
        },
    )


def distances(before: Mapping[str, Any], after: Mapping[str, Any] | None = None) -> list[tuple[str, list[str], str]]:
    """Title, values, and what the distance is."""
    kept = [before] if after is None else [before, after]

    def row(title: str, get: Any, what: str) -> tuple[str, list[str], str]:
        return title, [get(d) for d in kept], what

    return [
        row(
            "MMD",
            lambda d: f"{number(d['mmd']['biased'], 3)} (p = {d['mmd']['p']:.3f})",
            "kernel means; p by permutation",
        ),
        row(
            "Discriminator", lambda d: f"{d['discriminator']['auc']:.3f}", "AUC: .5 cannot be told apart, 1 can always"
        ),
        row("Proxy A-distance", lambda d: number(d["proxy_a"], 3), "0 to 2, from a held-out error"),
        row("CORAL distance", lambda d: number(d["coral"], 3), "of the covariances"),
        row("Sliced Wasserstein", lambda d: number(d["sliced_wasserstein"], 3), "in standard deviations"),
    ]


def _shares(classes: list[str], shares: Mapping[str, list[float]]) -> dict[str, Any]:
    names = [n for n in ("source", "bbse", "em", "oracle") if n in shares]
    rows = [(c, [percent(shares[n][i]) for n in names]) for i, c in enumerate(classes)]
    titles = {"source": "share in the source", "bbse": "BBSE", "em": "EM", "oracle": "oracle"}
    return {"names": [titles[n] for n in names], "rows": rows}


def _maps(run: RunFolder) -> Section:
    table = run.maps
    values: dict[str, Any] = {"domains": None, "classes": None, "legend": [], "n": 0}
    if table is not None and len(table):
        before, after = (table[[f"{w}_x", f"{w}_y"]].to_numpy(dtype=float) for w in ("before", "after"))
        looks = styles(2)
        sides = [0 if d == "source" else 1 for d in table["domain"]]
        if 0 in sides:
            values["domains"] = feature_maps(before, after, sides, looks, "domains")
            values["legend"] = [("source", *looks[0]), ("target", *looks[1])]
        names = list(dict.fromkeys(table["label"]))[:16]
        index = {n: i for i, n in enumerate(names)}
        target = (table["domain"] == "target").to_numpy()
        groups = [index.get(v, -1) for v in table["label"][target]]
        own = [table[[f"own_{w}_x", f"own_{w}_y"]].to_numpy(dtype=float)[target] for w in ("before", "after")]
        values["classes"] = feature_maps(own[0], own[1], groups, styles(len(names)), "classes")
        values["n"] = int(np.isfinite(before).all(1).sum())
    title = "Both domains in one map" if values["domains"] or values["classes"] is None else "The target as a map"
    return Section("maps", title, "adaptation_maps.html", values)


def _answers(run: RunFolder, album: Album) -> Section:
    a = run.report.adaptation
    changed, sure = a["changed"], a["confidence"]
    samples = []
    for s in changed["samples"]:
        picture = shown(Shown(**s), album, f"target sample, now {s['after']}")
        samples.append({**s, "shown": picture, "confidence": percent(s["confidence"]), "oracle": s.get("oracle")})
    bins = [Bin(**b) for b in sure["bins"]] if sure.get("bins") else []
    than = changed.get("than", "source-only")
    values = {
        "than": {"source-only": "the probe of the source", "source-model": "the model that was given"}.get(than, than),
        "count": count(changed["count"]),
        "of": count(changed["of"]),
        "samples": samples,
        "modality": run.report.data.modality,
        "histogram": confidence_histogram(sure["counts"], sure["edges"], "confidence"),
        "reliability": reliability(bins, "reliability") if bins else None,
    }
    return Section("answers", "What changed on the target", "adaptation_answers.html", values)
