"""Progress: a bar with time left on a terminal, plain lines elsewhere; always on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol


class Progress(Protocol):
    """Where long work reports to. `say` prints a line; `task` yields a function that advances by n."""

    def say(self, text: str) -> None: ...

    def task(self, name: str, total: int) -> Advance: ...


class Advance(Protocol):
    def __enter__(self) -> Advance: ...

    def __exit__(self, *error: object) -> None: ...

    def __call__(self, n: int = 1, note: str = "") -> None: ...


class Silent:
    """Reports nothing."""

    def say(self, text: str) -> None:
        pass

    def task(self, name: str, total: int) -> Advance:
        return _Quiet()


class _Quiet:
    def __enter__(self) -> _Quiet:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __call__(self, n: int = 1, note: str = "") -> None:
        pass


class Lines:
    """Plain lines, at most one every `every` seconds for each task."""

    def __init__(self, every: float = 10.0) -> None:
        self.every = every

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def task(self, name: str, total: int) -> Advance:
        return _LineTask(self, name, total)


class _LineTask:
    def __init__(self, lines: Lines, name: str, total: int) -> None:
        self.lines, self.name, self.total = lines, name, total
        self.done, self.start = 0, time.monotonic()
        self.last = self.start

    def __enter__(self) -> _LineTask:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __call__(self, n: int = 1, note: str = "") -> None:
        self.done += n
        now = time.monotonic()
        if now - self.last >= self.lines.every and self.done:
            self.last = now
            left = (now - self.start) / self.done * (self.total - self.done)
            self.lines.say(f"{self.name}: {self.done}/{self.total}, about {left:.0f} s left  {note}".rstrip())


class Bars:
    """Rich progress bars on a terminal."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True, highlight=False)

    def say(self, text: str) -> None:
        self.console.print(text, markup=False)

    def task(self, name: str, total: int) -> Advance:
        return _BarTask(self, name, total)


class _BarTask:
    def __init__(self, bars: Bars, name: str, total: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self.bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=bars.console,
            transient=True,
        )
        self.id = self.bar.add_task(name, total=total, note="")

    def __enter__(self) -> _BarTask:
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def __call__(self, n: int = 1, note: str = "") -> None:
        fields: dict[str, Any] = {"note": note} if note else {}
        self.bar.update(self.id, advance=n, **fields)


def best_progress() -> Progress:
    """Bars where standard error is a terminal, plain lines elsewhere."""
    return Bars() if sys.stderr.isatty() else Lines()


_current: list[Progress] = [Silent()]


def progress() -> Progress:
    """Where work reports to now; silent unless the command line (or a user) chose otherwise."""
    return _current[-1]


@contextmanager
def reporting_to(where: Progress) -> Iterator[Progress]:
    """Send the progress of everything inside the block to `where`."""
    _current.append(where)
    try:
        yield where
    finally:
        _current.pop()
