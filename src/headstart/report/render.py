"""From a run folder to report.html: one file that opens offline, without scripts or requests."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from headstart.report.folder import RunFolder, read_run_folder
from headstart.report.formats import clean
from headstart.report.pictures import Album
from headstart.report.schema.part import Remark
from headstart.report.sections.adaptation import adaptation_headline, adaptation_sections
from headstart.report.sections.choice import choice
from headstart.report.sections.confidence import confidence
from headstart.report.sections.curve import curve
from headstart.report.sections.data import data
from headstart.report.sections.errors import errors
from headstart.report.sections.facts import cost, further_use, provenance, reproduction, usage
from headstart.report.sections.findings import findings
from headstart.report.sections.forgetting import forgetting
from headstart.report.sections.headline import headline, pretraining_headline
from headstart.report.sections.importance import importance
from headstart.report.sections.maps import maps
from headstart.report.sections.numbers import numbers
from headstart.report.sections.remarks import remarks, warnings
from headstart.report.sections.result import result
from headstart.report.sections.section import Section
from headstart.report.sections.seeds import seeds
from headstart.report.sections.slices import slices
from headstart.report.sections.tasks import tasks, tasks_headline
from headstart.report.sections.training import training
from headstart.store.atomic import write_text


def render_report(run_folder: str | Path) -> Path:
    """Write report.html into a run folder from the files that are there.

    The page depends on these files only: the same folder gives the same bytes. Files that are missing (an
    unfinished run, no pictures, no maps) leave a sentence where their section would be.

    Parameters
    ----------
    run_folder
        A folder that `headstart fit` wrote, finished or not.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    StoreError
        If this is no run folder, its report.json is damaged or newer than this version, or the disk refuses.
    """
    run = read_run_folder(Path(run_folder))
    target = run.path / "report.html"
    write_text(target, page(run))
    return target


def page(run: RunFolder) -> str:
    """The whole page as text."""
    album = Album(run.path)
    if run.report.kind == "adaptation":
        return _page(run, album, adaptation_headline(run), adaptation_sections(run, album))
    if run.report.kind == "pretraining":
        sections = [data(run, album), training(run), cost(run), provenance(run), further_use(run), reproduction(run)]
        return _page(run, album, pretraining_headline(run), sections)
    if run.report.kind == "tasks":
        sections = [tasks(run), data(run, album), training(run), cost(run), provenance(run), usage(run)]
        return _page(run, album, tasks_headline(run), [*sections, remarks(run), reproduction(run)])
    # The worst samples are made first: they tell more than examples when the space for pictures is used up.
    wrong = numbers(run, album) if run.report.task.kind == "regression" else errors(run, album)
    sections = [
        result(run),
        *seeds(run),
        data(run, album),
        *findings(run),
        choice(run),
        wrong,
        *slices(run),
        *curve(run),
    ]
    if run.report.task.kind == "single-label" or run.report.calibration is not None:
        sections.append(confidence(run))
    if run.report.importance:
        sections.append(importance(run, album))
    sections += [training(run), *forgetting(run), maps(run), cost(run), provenance(run), usage(run)]
    sections += [remarks(run), reproduction(run)]
    return _page(run, album, headline(run), sections)


def _page(run: RunFolder, album: Album, head: dict[str, Any], sections: list[Section]) -> str:
    return whole_page(album, head, sections, warnings(run))


def whole_page(album: Album, head: dict[str, Any], sections: list[Section], remarks: list[Remark]) -> str:
    """A page of sections under a head, with warnings at its top."""
    environment = _environment()
    values: dict[str, Any] = {
        "head": head,
        "warnings": remarks,
        "sections": sections,
        "album": album,
        "rendered": [_render(environment, section) for section in sections],
    }
    return environment.get_template("report.html").render(values)


def _render(environment: Environment, section: Section) -> Markup:
    return Markup(environment.get_template(section.template).render(section.values, section=section))


def _code(text: str) -> Markup:
    """Text whose parts in backticks are code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("headstart.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = _code
    return environment


def _printable(value: Any) -> Any:
    """Names of files and classes are somebody else's: no control characters, nothing that hides its order."""
    return clean(value) if type(value) is str else value
