"""`headstart pretrain`: learn from data without labels, for `headstart fit --model run:FOLDER`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from headstart.cli import fit_options
from headstart.cli.output import AsJson, console, number, print_command, print_json, seconds, working
from headstart.core.words import counted

_DATA, _MODEL, _RUN = "Data", "Model", "Run"


def _option(name: str, panel: str, metavar: str, text: str) -> Any:
    return typer.Option(f"--{name}", metavar=metavar, help=text, show_default=False, rich_help_panel=panel)


def command(
    data: Annotated[str, typer.Argument(help="Texts or series: a table, a folder, a .ts or .npz file, sample:NAME.")],
    model: Annotated[str, _option("model", _MODEL, "REF", "scratch:awd-lstm, sample:all-minilm-l6-v2, hf:…, run:…")],
    text: Annotated[str | None, _option("text", _DATA, "A[,B]", "Column of texts (tables).")] = None,
    series: Annotated[str | None, _option("series", _DATA, "A,B,...", "Channels of a series (long tables).")] = None,
    id: Annotated[str | None, _option("id", _DATA, "COLUMN", "Which series a row belongs to.")] = None,
    time: Annotated[str | None, _option("time", _DATA, "COLUMN", "Time of a row within its series.")] = None,
    window: Annotated[str | None, _option("window", _DATA, "LENGTH", "Cut recordings: 2s, 128 (steps).")] = None,
    stride: Annotated[str | None, _option("stride", _DATA, "LENGTH", "From window to window.")] = None,
    modality: Annotated[str | None, _option("modality", _DATA, "KIND", "text or sequence (found out).")] = None,
    arch: Annotated[str | None, _option("arch", _MODEL, "KEYS", "key=value,... of scratch:awd-lstm.")] = None,
    max_length: Annotated[int | None, _option("max-length", _MODEL, "TOKENS", "Most tokens at once.")] = None,
    vocabulary: Annotated[
        str | None, _option("vocabulary", _MODEL, "HOW", "Of a run: network: keep, extend (auto), rebuild.")
    ] = None,
    epochs: Annotated[int | None, _option("epochs", _RUN, "N", "Passes over the data.")] = None,
    lr: Annotated[float | None, _option("lr", _RUN, "RATE", "Learning rate.")] = None,
    batch_size: Annotated[int | None, _option("batch-size", _RUN, "N", "Samples in a batch.")] = None,
    seed: Annotated[int | None, _option("seed", _RUN, "N", "Of everything random (0).")] = None,
    device: Annotated[str | None, _option("device", _RUN, "NAME", "cpu, cuda or mps (auto).")] = None,
    precision: Annotated[str | None, _option("precision", _RUN, "NAME", "float32 or bfloat16 (auto).")] = None,
    out: Annotated[Path | None, _option("out", _RUN, "FOLDER", "The run folder (runs/pretrain-NAME).")] = None,
    as_json: AsJson = False,
) -> None:
    """Train a network on texts or series without labels.

    A recurrent network learns to go on with a text, a Transformer to fill in hidden words, a network for
    series to fill in hidden stretches. The result is a model: headstart fit DATA --model run:FOLDER.
    """
    given = {k: v for k, v in locals().items() if k not in ("data", "as_json") and v is not None}
    from headstart.verbs.options import make_pretrain_options

    options = fit_options.typed(given)
    make_pretrain_options(options)  # a mistake is said now, before anything heavy is imported
    from headstart import verbs

    with working():
        run = verbs.pretrain(data, **options)
    print_pretraining(run, as_json)


def print_pretraining(run: Any, as_json: bool) -> None:
    """What a person reads after `pretrain`."""
    if as_json:
        print_json({**run.data, "run": str(run.path)})
        return
    done, cost, out = run.data["pretraining"], run.data["cost"], console()
    out.print(
        f"{run.data['data']['name']}: {run.data['model']['reference']}, {done['objective']} on {done['trained_on']}, "
        f"{counted(done['epochs'], 'epoch')}, in {seconds(cost['seconds'])}."
    )
    if done.get("best") is not None:
        out.print(
            f"On data held out: {run.data['metric']} {number(done['first'])} after the first epoch, "
            f"{number(done['best'])} at best."
        )
    out.print()
    out.print(f"Report: {run.path / 'report.html'}", soft_wrap=True)
    out.print("Next:")
    print_command(f"headstart fit DATA --model run:{run.path}")
