"""What a person reads after `fit`, `resume` and `demo`: what was chosen, how good it is, what next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headstart.cli.output import console, interval, number, print_command, print_json, print_table, seconds

BASELINES = {
    "linear_probe": "Linear probe, last layer",
    "scratch": "From random weights",
    "raw_features": "Logistic regression, pixels",
    "majority": "Majority class",
}
"""Names of the baselines for a person, best informed first."""


def print_outcome(run: Any, as_json: bool) -> None:
    """Print what came out of a run: report.json's content and "run", or a page of text.

    Parameters
    ----------
    run
        A `headstart.verbs.Run` that has ended.
    """
    if run.data.get("kind") == "pretraining":
        from headstart.cli.pretrain import print_pretraining

        print_pretraining(run, as_json)
        return
    if run.data.get("kind") == "adaptation":
        from headstart.cli.adapt import print_adaptation

        print_adaptation(run, as_json)
        return
    if as_json:
        print_json({**run.data, "run": str(run.path)})
        return
    if run.data.get("kind") == "tasks":
        _print_tasks(run)
        return
    out = console()
    fallback = run.data.get("fallback")
    if fallback:
        out.print(fallback["text"])
    out.print(_headline(run.data))
    reasons = [r for r in run.data["strategy"].get("reasons", []) if not fallback or r != fallback["text"]]
    for reason in reasons[:4]:
        out.print(f"- {reason}")
    out.print()
    _print_scores(run.data)
    for said in _over_seeds(run.data):
        out.print(said)
    guard = run.data.get("guard") or {}
    if guard.get("verdict"):
        out.print()
        pays = "the network" if run.data["model"]["reference"].startswith("scratch:") else "transfer"
        out.print(f"Does {pays} pay? {guard['verdict']}. {guard.get('text', '')}".rstrip())
        if over := guard.get("over_probe"):
            out.print(over["text"])
    for found in run.data.get("findings") or []:
        if found["level"] == "serious":
            out.print(f"Data: {found['text']}")
    if said := _more_labels(run.data.get("curve")):
        out.print(said)
    if said := _cut_off(run.data["data"].get("lengths") or {}):
        out.print(f"Note: {said}")
    warnings = [n["text"] for n in _notes(run.data) if n["level"] == "warning"]
    for text in dict.fromkeys(warnings):
        out.print(f"Note: {text}")
    out.print()
    _print_places(run)


def _print_tasks(run: Any) -> None:
    """A row for each of several tasks, and what sharing did to it."""
    data, out = run.data, console()
    sharing = data["sharing"]
    part = sharing["part"]
    parts = ", ".join(f"{n:,} {name}" for name, n in data["data"]["parts"].items())
    cost = seconds(data["cost"]["seconds"])
    out.print(f"{data['data']['name']} ({parts}): {data['model']['reference']}, {len(data['tasks'])} tasks, in {cost}.")
    rows = []
    for task in data["tasks"]:
        ours, told = task["metrics"][part].get(task["metric"]), task["sharing"]
        alone = "own_model" if told["compared_with"] == "own model" else "linear_probe"
        beside = task["baselines"][alone][part].get(task["metric"])
        delta = "–" if told["delta"] is None else f"{100 * told['delta']:+.1f}%"
        metric = task["metric"].replace("_", " ")
        rows.append((task["name"], metric, _value(ours), interval(ours), _value(beside), delta, told["kept"]))
    out.print()
    headings = ["task", f"{part} metric", "value", "95% interval", "alone", "by sharing", "handed back"]
    print_table(headings, rows, right=["value", "95% interval", "alone", "by sharing"])
    if sharing["delta_m"] is not None:
        mean = f"{100 * sharing['delta_m']:+.1f}% on average"
        out.print(f"By sharing, over all tasks: {mean} (balancing: {sharing['balance']}).")
    for task in data["tasks"]:
        out.print(f"- {task['sharing']['text']}")
    for text in dict.fromkeys(n["text"] for n in _notes(data) if n["level"] == "warning"):
        out.print(f"Note: {text}")
    out.print()
    _print_places(run)


def _over_seeds(data: Mapping[str, Any]) -> list[str]:
    """What several seeds say of the deciding metric; nothing of one seed. The verdict says what they gain."""
    over = data.get("over_seeds")
    if not over:
        return []
    found = over["metrics"][over["part"]][data["metric"]]
    said = f"Over {len(over['runs'])} seeds: {over['part']} {data['metric'].replace('_', ' ')} "
    said += f"{_plain(found['mean'])} (standard deviation {_plain(found['std'])}; 95% of the mean {interval(found)})."
    return ["", said, f"Seed {over['best']} is handed back: the best on validation."]


def _plain(value: float | None) -> str:
    return "–" if value is None else number(value)


def _more_labels(curve: Mapping[str, Any] | None) -> str:
    """What more labels would be worth to the probe; "" where nothing is known of it."""
    if not curve or not curve.get("gains"):
        return ""
    from headstart.report.schema.evidence import Gain
    from headstart.report.sections.curve import gain_text
    from headstart.report.words import metric_words

    words = metric_words(curve["metric"])
    return f"By the probe's learning curve, {gain_text(Gain(**curve['gains'][0]), words)}."


def _headline(data: Mapping[str, Any]) -> str:
    model, strategy, facts = data["model"], data["strategy"], data["data"]
    parts = ", ".join(f"{n:,} {part}" for part, n in facts["parts"].items())
    cut = f", cut after {model['stage']}" if model.get("truncated") else ""
    asked = " (chosen)" if strategy.get("asked") == "auto" else ""
    cost = seconds(data["cost"]["seconds"])
    beside = f", blended with {blend['weight']:.0%} of {blend['with']}" if (blend := data.get("blend")) else ""
    how = f"strategy {strategy['name']}{asked}{beside}"
    read = f"{cut}{_size(model)}"
    if data.get("fallback"):
        how, read = f"strategy {strategy['network']}{asked}, not taken", ""
    return f"{facts['name']} ({parts}): {model['reference']}{read}, {how}, in {cost}."


def _size(model: Mapping[str, Any]) -> str:
    """How large inputs enter, where they have a size."""
    for key, unit in (("image_size", "px"), ("max_length", "tokens")):
        if model.get(key):
            return f", {model[key]} {unit}"
    return ""


def _print_scores(data: Mapping[str, Any]) -> None:
    part = "test" if data["metrics"].get("test") else "validation"
    metric = data["metric"]
    names = {**BASELINES, "raw_features": data.get("raw_features_name", BASELINES["raw_features"])}
    if data["task"]["kind"] == "regression":
        names["majority"] = "Mean of the labels"
    ours = data["metrics"][part].get(metric)
    rows = [("This model", _value(ours), interval(ours))]
    if rejected := (data["baselines"].get("network") or {}).get(part, {}).get(metric):
        rows.append(("The network, not taken", _value(rejected), interval(rejected)))
    for key, name in names.items():
        baseline = (data["baselines"].get(key) or {}).get(part, {}).get(metric)
        if baseline is not None:
            rows.append((name, _value(baseline), interval(baseline)))
    heading = f"{part} {metric.replace('_', ' ')}"
    print_table(["", heading, "95% interval"], rows, right=[heading, "95% interval"])


def _value(metric: Mapping[str, float | None] | None) -> str:
    return number(metric["value"]) if metric else "–"


def _notes(data: Mapping[str, Any]) -> list[dict[str, str]]:
    return [*data.get("notes", []), *data["data"].get("notes", []), *data["model"].get("notes", [])]


def _cut_off(lengths: Mapping[str, Any]) -> str:
    """How much of the training texts does not enter the network; "" where all does."""
    if not lengths.get("truncated"):
        return ""
    whole = "" if lengths["long"] == "windows" else " --max-length or --long windows lets more in."
    return (
        f"{lengths['truncated']:,} of {sum(lengths['counts']):,} training texts are cut off: they lose "
        f"{lengths['lost_share']:.1%} of all {lengths['unit']}.{whole}"
    )


def _print_places(run: Any) -> None:
    path = Path(run.path)
    folder = shlex.quote(str(path))
    out = console()
    out.print(f"Report: {path / 'report.html'}", soft_wrap=True)
    out.print(f"Model:  {path / 'bundle'}", soft_wrap=True)
    out.print("Next:")
    inputs = {"text": "TABLE", "sequence": "SERIES"}.get(run.data["data"].get("modality", "image"), "PICTURES...")
    print_command(f"headstart predict {folder} {inputs}")
    print_command(f"headstart evaluate {folder} DATA")
    if run.data.get("status", "finished") != "finished":
        print_command(f"headstart resume {folder}")


def print_estimate(estimate: Mapping[str, Any]) -> None:
    """Print what `--dry-run` found out: on what, the steps with about how long each takes, and the sums."""
    data = estimate["data"]
    parts = ", ".join(f"{n:,} {part}" for part, n in data["parts"].items())
    out = console()
    size = f", {estimate['size']} {estimate['size_unit']}" if estimate["size_unit"] else ""
    out.print(f"{data['name']} ({parts}): {estimate['model']}{size}, on {estimate['device']}.")
    for name, task in estimate.get("tasks", {}).items():
        out.print(f"  {name}: {task['kind']}, {task['labelled']['train']:,} labelled for training")
    out.print()
    steps = [(step["name"], step["detail"], seconds(step["seconds"])) for step in estimate["plan"]]
    print_table(["step", "what", "about"], steps, right=["about"])
    out.print()
    out.print(
        f"In all about {seconds(estimate['seconds'])}, {estimate['memory_mb']:,} MB of memory and "
        f"{estimate['disk_mb']:,} MB of disk. Nothing has been written."
    )
