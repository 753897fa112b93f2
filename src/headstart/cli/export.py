"""`headstart export`: a model as one graph for other programs."""

from __future__ import annotations

from typing import Annotated

import typer

from headstart.cli.output import AsJson, console, print_json, working


def command(
    model: Annotated[str, typer.Argument(metavar="RUN", help="A run folder or a bundle.")],
    format: Annotated[str, typer.Option(metavar="NAME", help="onnx or openvino.")] = "onnx",
    out: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Where to. (export-FORMAT beside the model)")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over what is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a model as one graph, from raw inputs to calibrated probabilities, that runs without PyTorch.

    The graph is run beside PyTorch before it is written; model.json describes its inputs.
    """
    from headstart import verbs

    with working():
        found = verbs.export(model, format, out, force)
    if as_json:
        print_json(found)
        return
    say = console().print
    say(f"{found['folder']}: {', '.join([*found['files'], 'model.json'])}")
    for row in found["inputs"]:
        say(f"  takes {row['name']}: {row['dtype']} {row['shape']}, {row['meaning']}", markup=False)
    for row in found["outputs"]:
        say(f"  gives {row['name']}: float32 {row['shape']}", markup=False)
    say(f"  largest difference from PyTorch: {found['agreement']['largest_difference']:.1e}")
