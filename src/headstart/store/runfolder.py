"""The run folder: what a run writes, in one place, by one writer. See docs/run-folder.md."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml
from filelock import FileLock, Timeout

from headstart.core.errors import StoreError
from headstart.store.atomic import store_error, write_json, write_text
from headstart.store.tensors import load_tree, save_tree


def as_yaml(content: Any) -> str:
    """YAML that reads back as what was written, in readable letters where that is safe.

    PyYAML writes U+0085 (next line) as it stands when asked for plain Unicode, and reads it back as a space.
    """
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return text if "\x85" not in text else yaml.safe_dump(content, sort_keys=False)


class RunFolder:
    """Paths and writers of one run.

    Parameters
    ----------
    path
        The folder; see `create` and `existing`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.data = path / "data.json"
        self.steps = path / "steps"
        self.checkpoints = path / "checkpoints"
        self.metrics = path / "metrics.jsonl"
        self.predictions = path / "predictions.parquet"
        self.maps = path / "maps.parquet"
        self.pictures = path / "pictures"
        self.report = path / "report.json"
        self.page = path / "report.html"
        self.bundle = path / "bundle"
        self.lock = path / ".lock"

    @classmethod
    def create(cls, out: Path | None, name: str) -> RunFolder:
        """A new folder: `out`, or `runs/NAME` with a number if that is taken, by another start just now, too.

        Raises
        ------
        StoreError
            When `out` holds something already, or cannot be made.
        """
        if out is None:
            base = Path("runs") / (re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run")
            path, number = base, 1
            while not _make(path):
                number += 1
                path = base.with_name(f"{base.name}-{number}")
            return cls(path)
        path = Path(out)
        if path.exists() and not path.is_dir():
            raise StoreError(f"{path} is a file.", "Give --out a new folder.")
        if path.is_dir() and any(path.iterdir()):
            run = cls(path)
            if run.report.exists():
                raise StoreError(f"{path} holds a finished run.", "Give --out another folder, or remove it.")
            if run.config.exists():
                raise StoreError(f"{path} holds a run that has not ended.", f"Continue it: headstart resume {path}")
            raise StoreError(f"{path} is not empty.", "Give --out a new folder.")
        _make(path)
        return cls(path)

    @classmethod
    def existing(cls, path: str | Path) -> RunFolder:
        """The folder of an earlier run.

        Raises
        ------
        StoreError
            When there is no run.
        """
        path = Path(path)
        if not (path / "config.yaml").is_file():
            runs = sorted(str(p.parent) for p in Path("runs").glob("*/config.yaml"))
            hint = f"Runs here: {', '.join(runs[:10])}." if runs else "`headstart fit` makes one."
            raise StoreError(f"{path} is not a run folder.", hint)
        return cls(path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps a second writer out.

        Raises
        ------
        StoreError
            When another process is writing to the folder.
        """
        lock = FileLock(self.lock)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise StoreError(
                f"{self.path} is in use by another process.", "Wait for it, or give --out another folder."
            ) from None
        except OSError as error:
            raise store_error(error, self.path) from error
        try:
            yield
        finally:
            lock.release()
            self.lock.unlink(missing_ok=True)

    def write_config(self, config: dict[str, Any]) -> None:
        write_text(self.config, as_yaml(config))

    def read_config(self) -> dict[str, Any]:
        return yaml.safe_load(self.config.read_text(encoding="utf-8"))

    def write_report(self, report: dict[str, Any]) -> None:
        write_json(self.report, report)

    def read_report(self) -> dict[str, Any]:
        return json.loads(self.report.read_text(encoding="utf-8"))

    def step(self, name: str, compute: Callable[[], Any]) -> Any:
        """What a step measured or chose: computed once, kept, and read by a resumed run.

        `compute` returns a tree of tensors and JSON.
        """
        path = self.steps / f"{name}.safetensors"
        if path.exists():
            return load_tree(path)
        value = compute()
        self.steps.mkdir(exist_ok=True)
        save_tree(path, value)
        return load_tree(path)

    def has_step(self, name: str) -> bool:
        return (self.steps / f"{name}.safetensors").exists()

    def checkpoint(self, name: str) -> Path:
        """Where training `name` keeps its checkpoint."""
        self.checkpoints.mkdir(exist_ok=True)
        return self.checkpoints / f"{name}.safetensors"

    def clear_checkpoints(self) -> None:
        """Remove the state of training, and half-written files that a killed process left."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        for left in self.path.rglob(".*.tmp"):
            if left.is_file():
                left.unlink(missing_ok=True)


def _make(path: Path) -> bool:
    """Make a folder; False where something has that name already."""
    try:
        path.mkdir(parents=True)
    except OSError as error:
        # A link to nowhere above it fails in the same way, and no other name would help.
        if isinstance(error, FileExistsError) and (path.exists() or path.is_symlink()):
            return False
        raise store_error(error, path) from error
    return True


class JsonLines:
    """metrics.jsonl: one record per line; a resumed training overwrites the tail that its checkpoint does not know.

    Several trainings share the file, so positions count the records of one: those that contain `mine`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, record: dict[str, Any]) -> None:
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise store_error(error, self.path) from error

    def position(self, mine: Mapping[str, Any] = MappingProxyType({})) -> int:
        return sum(_is(record, mine) for record in self._records())

    def rewind(self, position: int, mine: Mapping[str, Any] = MappingProxyType({})) -> None:
        """Drop the records of one training from `position` on, and whatever a killed writer left half-written."""
        if not self.path.exists():
            return
        seen, kept = 0, []
        for record in self._records():
            own = _is(record, mine)
            if not own or seen < position:
                kept.append(json.dumps(record) + "\n")
            seen += own
        write_text(self.path, "".join(kept))

    def _records(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]


def _is(record: Mapping[str, Any], mine: Mapping[str, Any]) -> bool:
    return all(key in record and record[key] == value for key, value in mine.items())
