"""What a pretraining learns from: which modality, which part, and whether the options fit it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.errors import ConfigError, DataError, HeadstartError
from headstart.data import Dataset, load_inputs
from headstart.data.schema import Modality
from headstart.data.series_files import SERIES_SUFFIXES
from headstart.models.reference import parse_reference
from headstart.store.atomic import write_json
from headstart.store.runfolder import RunFolder
from headstart.verbs.options import PretrainOptions

FOREIGN = {
    "text": ("series", "id", "time", "window", "stride"),
    "sequence": ("text", "max_length", "vocabulary"),
}
"""Options that mean nothing for a modality."""

_ONLY_FOR: dict[str, Modality] = {"awd-lstm": "text", "inception-time": "sequence"}
"""Own architectures that take one modality."""


def read_corpus(options: PretrainOptions, data: Any) -> tuple[Modality, Dataset]:
    """The modality and the samples that are learned from.

    Raises
    ------
    HeadstartError
        For data that cannot be read, or that model and options are not made for.
    """
    modality = _modality(options, data)
    defaults = PretrainOptions.model_fields
    if wrong := [name for name in FOREIGN.get(modality, ()) if getattr(options, name) != defaults[name].default]:
        flags = ", ".join("--" + name.replace("_", "-") for name in wrong)
        raise ConfigError(f"{flags}: the data are of the modality {modality!r}.", "Leave the option out.")
    # One text is a path, never itself something to learn from: a mistyped one must not be taken for it.
    source = Path(data) if isinstance(data, str) and not data.startswith("sample:") else data
    given = len(source) if isinstance(source, Dataset) else 0
    if isinstance(source, Dataset):
        source = _training_part(source)  # reading it as inputs forgets its parts
    whole = load_inputs(source, modality, options.columns(modality), options.reading())
    found = _training_part(whole)
    if len(found) < len(whole) or (isinstance(source, Dataset) and len(source) < given):
        found.notes.info("parts", "Only the training part is learned from: the test part stays unseen.")
    if not len(found):
        raise DataError("There is nothing to learn from.", "Give some texts or series.")
    return modality, found


def keep_data(folder: RunFolder, data: Dataset) -> None:
    """Write data.json, or compare with it where an earlier start has written it.

    Raises
    ------
    HeadstartError
        When the data have changed since.
    """
    found = {"name": data.name, "fingerprint": data.fingerprint(), "modality": data.schema.modality}
    if not folder.data.exists():
        write_json(folder.data, found)
        return
    kept = json.loads(folder.data.read_text(encoding="utf-8"))
    if kept["fingerprint"] != found["fingerprint"]:
        raise HeadstartError(
            f"The data of {folder.path} have changed since the run was started.",
            "Restore them, or start a new run.",
        )
    data.name = kept["name"]  # what the user called them; resuming names the whole path


def _modality(options: PretrainOptions, data: Any) -> Modality:
    """What the data are: as said, as a sample or file is, as the network or the options ask; texts otherwise."""
    reference = parse_reference(options.model)
    needs = _ONLY_FOR.get(reference.name) if reference.kind == "own" else None
    found = options.modality or _of_data(data)
    if needs and found and needs != found:
        many = {"text": "texts", "sequence": "series"}
        raise ConfigError(
            f"{reference} learns from {many[needs]}; the data are {many.get(found, 'pictures')}.",
            "Use scratch:gru or scratch:lstm, which take both.",
        )
    series = options.series or options.id or options.window
    return found or needs or ("sequence" if series else "text")


def _of_data(data: Any) -> Modality | None:
    """What the data themselves say; None for tables, folders and lists, which may hold either."""
    if isinstance(data, Dataset):
        return data.schema.modality
    if isinstance(data, str) and data.startswith("sample:"):
        from headstart.data.samples import read_sample

        return read_sample(data).source.modality
    if isinstance(data, np.ndarray) or str(data).lower().endswith(tuple(SERIES_SUFFIXES)):
        return "sequence"
    return None


def _training_part(data: Dataset) -> Dataset:
    """The training part of data that come with parts: what is judged on later must not be learned from now."""
    held = [rows for name, rows in data.given_parts.items() if name != "train"]
    if held:
        data = data.subset(np.setdiff1d(np.arange(len(data)), np.concatenate(held)))
    if data.schema.modality == "image":
        raise ConfigError(
            "There is no pretraining on pictures without labels yet.", "`headstart models` lists weights."
        )
    return data
