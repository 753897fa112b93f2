"""Folders of pictures or text files: one folder per class, with or without train, validation and test above."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import numpy as np

from headstart.core.errors import DataError, near_names, permitted
from headstart.core.notes import Notes
from headstart.data.picture_sources import FileSource
from headstart.data.pictures import PICTURE_SUFFIXES
from headstart.data.raw import Raw
from headstart.data.texts import TEXT_SUFFIXES, TextFileSource

PART_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
"""Names of folders (lower case) that are parts and not classes."""


HIDDEN = (".", "__MACOSX", "lost+found", "System Volume Information", "$RECYCLE.BIN", "$Recycle.Bin")
"""How names begin that nobody gave to samples: of archives and of the roots of disks."""

SUFFIXES: dict[str, frozenset[str]] = {"image": frozenset(PICTURE_SUFFIXES), "text": TEXT_SUFFIXES}


@permitted()
def sample_files(folder: Path, suffixes: Collection[str] = SUFFIXES["image"]) -> list[Path]:
    """Every file below `folder` that is called like a sample, sorted; nothing hidden."""
    found = sorted(path for path in _walk(folder) if path.suffix.lower() in suffixes)
    check_names([folder.absolute(), *found])
    return found


def check_names(paths: Iterable[Path]) -> None:
    """Refuse names that are no text: ids, reports and the store of facts could not write them down.

    Raises
    ------
    DataError
        For a name that is not UTF-8, as old archives leave them.
    """
    for path in paths:
        try:
            os.fspath(path).encode()
        except UnicodeEncodeError:
            shown = os.fspath(path).encode("utf-8", "backslashreplace").decode()
            raise DataError(
                f"The name of {shown} is not UTF-8.",
                "Rename it; convmv -f latin1 -t utf8 -r --notest FOLDER renames all there are.",
            ) from None


@permitted()
def modality_of_folder(folder: Path) -> str:
    """What the samples below a folder are: texts where there are text files and no pictures, else pictures."""
    text = False
    for path in _walk(folder):
        if path.suffix.lower() in PICTURE_SUFFIXES:
            return "image"
        text = text or path.suffix.lower() in TEXT_SUFFIXES
    return "text" if text else "image"


@permitted()
def read_folder(folder: Path, modality: str | None = None) -> Raw:
    """Read the layout of a folder; the samples themselves stay closed.

    Classes are the folders directly below `folder` (or below its part folders), however deep their files lie.
    There are part folders if one is called train and every other one is a part as well, or at least one other
    is.

    Raises
    ------
    DataError
        If the folder is missing or may not be read, holds no samples, or holds samples but no class folders.
    """
    if not folder.exists():
        near = [p.name for p in _children(folder.parent)] if folder.parent.is_dir() else []
        # Names like the one that was given, else what there is.
        like = near_names(folder.name, near) or near[:10]
        hint = f"Where it would be there is: {', '.join(like)}." if like else "Check the path."
        raise DataError(f"There is no folder or file {folder}.", hint)
    modality = modality or modality_of_folder(folder)
    suffixes, many = SUFFIXES[modality], "pictures" if modality == "image" else "texts"
    notes = Notes()
    parts = _part_folders(folder, notes)
    files: list[tuple[Path, str, str]] = []
    empty: list[str] = []
    loose = 0
    for root, part in parts:
        for child in _children(root):
            if child.is_dir():
                check_names([child])
                found = sample_files(child, suffixes)
                if not found and part in ("", "train"):
                    empty.append(child.name)
                files.extend((path, child.name, part) for path in found)
            elif child.suffix.lower() in suffixes:
                loose += 1
    if not files:
        raise _nothing(folder, loose, many, suffixes)
    if loose:
        notes.warn("labels", f"{loose} {many} lie beside the class folders, not in one; they are left out.")
    filled = {label for _, label, _ in files}
    empty = sorted(set(empty) - filled)
    if empty:
        notes.warn("folders", f"Class folders without {many} are no classes: {', '.join(empty[:10])}.")
    paths, labels, names = zip(*files, strict=True)
    return Raw(
        name=str(folder),
        source=FileSource(paths) if modality == "image" else TextFileSource(paths),
        ids=[path.relative_to(folder).as_posix() for path in paths],
        columns={"label": labels},
        # "red, round" is the name of one folder, not a list of labels.
        usual_kind="single-label",
        parts=np.array(names) if any(names) else None,
        empty_classes=tuple(empty),
        notes=notes,
    )


def _part_folders(folder: Path, notes: Notes) -> list[tuple[Path, str]]:
    children = [child for child in _children(folder) if child.is_dir()]
    check_names(children)
    parts = [(child, PART_NAMES[child.name.lower()]) for child in children if child.name.lower() in PART_NAMES]
    names = [part for _, part in parts]
    others = [child.name for child in children if child.name.lower() not in PART_NAMES]
    # `train` alone beside other folders may well be a class of vehicles.
    if "train" not in names or (others and len(parts) == 1):
        return [(folder, "")]
    if len(set(names)) < len(names):
        twice = sorted(child.name for child, part in parts if names.count(part) > 1)
        raise DataError(f"{folder} has several folders for one part: {', '.join(twice)}.", "Keep one of them.")
    if others:
        notes.warn("folders", f"Folders beside the parts are left out: {', '.join(others[:10])}.")
    notes.info("split", f"Parts given as folders: {', '.join(child.name for child, _ in parts)}.")
    return parts


def _nothing(folder: Path, loose: int, many: str, suffixes: Collection[str]) -> DataError:
    if loose:
        return DataError(
            f"{folder} has {loose} {many}, but no folder per class.",
            f"Put the {many} of each class into a folder of its own, or give a table (CSV) with labels.",
        )
    others = sum(1 for _ in _walk(folder))
    seen = f"; {others} other files were seen" if others else ""
    return DataError(
        f"There are no {many} below {folder}{seen}.",
        f"Pictures are recognised by their ending: {' '.join(sorted(PICTURE_SUFFIXES))}; texts by "
        f"{' '.join(sorted(TEXT_SUFFIXES))}.",
    )


def _children(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if not child.name.startswith(HIDDEN))


def _walk(folder: Path) -> Iterator[Path]:
    """Visible files below a folder; links to folders are followed, each real folder once."""

    def refuse(error: OSError) -> None:
        # Otherwise a class, or some of its samples, would be missing without a word.
        if isinstance(error, PermissionError):
            raise error

    seen: set[str] = set()
    for place, inside, names in os.walk(folder, followlinks=True, onerror=refuse):
        real = os.path.realpath(place)
        if real in seen:
            inside.clear()
            continue
        seen.add(real)
        inside[:] = [name for name in inside if not name.startswith(HIDDEN)]
        yield from (Path(place, name) for name in names if not name.startswith("."))
