from __future__ import annotations

import json
import os
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from headstart.core.errors import StoreError
from headstart.report.folder import read_run_folder
from headstart.report.render import page, render_report
from headstart.report.schema.evidence import Gain
from headstart.report.sections.curve import gain_text
from headstart.report.words import metric_words

KINDS = ["digits", "birds", "binary", "many", "multilabel", "regression", "no_test", "interrupted"]
VOID = {"meta", "link", "img", "br", "hr", "input", "col", "path", "rect", "circle", "use"}


class Page(HTMLParser):
    """Tags, ids, links and text of a page; complains about tags that are not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.wrong: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text.append(data)

    def said(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.text))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_run_gives_a_sound_page(pages, kind):
    _, html = pages(kind)
    parsed = Page(html)
    assert not parsed.wrong
    assert not parsed.open
    ids = [a["id"] for _, a in parsed.tags if a.get("id")]
    assert len(ids) == len(set(ids))
    links = [a["href"] for t, a in parsed.tags if t in ("a", "use") and a.get("href", "").startswith("#")]
    links += [a["xlink:href"] for t, a in parsed.tags if t == "use" and "xlink:href" in a]
    assert links
    assert {link[1:] for link in links} <= set(ids)
    assert set(re.findall(r"url\(#([^)]+)\)", html)) <= set(ids)
    headings = [int(t[1]) for t, _ in parsed.tags if re.fullmatch(r"h[1-6]", t)]
    assert headings.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(headings))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_fetched_and_nothing_runs(pages, kind):
    _, html = pages(kind)
    parsed = Page(html)
    assert not [t for t, _ in parsed.tags if t in ("script", "iframe", "object", "embed", "base", "form")]
    assert not [k for _, a in parsed.tags for k in a if k.startswith("on")]
    sources = [a["src"] for _, a in parsed.tags if "src" in a]
    assert all(s.startswith("data:image/") for s in sources)
    hrefs = [a.get("href") or a.get("xlink:href") or "" for _, a in parsed.tags if "href" in a or "xlink:href" in a]
    assert all(h.startswith(("#", "data:image/")) or h == "data:," for h in hrefs)
    assert "@import" not in html
    assert "$\\math" not in html


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_is_small(pages, kind):
    _, html = pages(kind)
    assert len(html.encode()) < 1_500_000


def test_hostile_names_stay_text(pages):
    run, html = pages("birds")
    assert "<script>alert('wren')</script>" in run.report.task.classes
    assert "<script" not in html
    assert "<b>Warning</b>" not in html
    said = Page(html).said()
    assert "<script>alert('wren')</script>" in said
    assert "<b>Warning</b> number 3." in said
    for name in ("翡翠", "żuraw zwyczajny", "🦉 owl", "$x_1$ gull", "_hidden", "עורב", 'R&D "quoted" kite'):
        assert name in said


def test_the_headline_says_what_how_good_and_whether_it_pays(pages):
    run, html = pages("digits")
    said = Page(html).said()
    accuracy = run.report.metrics["test"]["accuracy"].value
    assert f"{100 * accuracy:.1f}%" in said
    assert "The pretrained network sample:efficientnet_lite0 was given a linear head" in said
    assert "on 4,000 pictures of sample:mnist5k, to tell 10 classes apart" in said
    assert "4,000 + 1,000 test" in said
    assert "Transfer pays here" in said
    assert "+5.5 points of accuracy (+3.8 to +7.3) compared with: linear probe" in said
    assert "from 1,000 samples" in said


SAID = {
    "binary": [
        "No clear difference",
        "to tell face from no face",
        "solved exactly, without epochs",
        "no map of its features",
    ],
    "many": ["Transfer does not pay here", "the 20 of 60 classes that are confused with each other most"],
    "multilabel": ["Mean average precision", "to say which of 10 labels apply", "Every label"],
    "regression": ["Mean absolute error", "to predict the number “angle”", "Mean value", "Where it errs"],
    "no_test": ["There is no test part", "on validation data", "keeps no examples"],
    "interrupted": ["Not finished", "no results yet", "headstart resume runs/interrupted", "Split by class."],
    "birds": ["6 warnings", "validation is by folds", "each line was validated on data"],
}


@pytest.mark.parametrize("kind", list(SAID))
def test_each_situation_is_said_in_words(pages, kind):
    said = Page(pages(kind)[1]).said()
    for sentence in SAID[kind]:
        assert sentence in said


def test_sections_that_do_not_apply_are_left_out(pages):
    assert 'id="confidence"' in pages("digits")[1]
    assert 'id="confidence"' not in pages("regression")[1]
    assert 'id="confidence"' not in pages("multilabel")[1]


def test_how_to_use_names_the_run_and_no_place_on_this_machine(pages):
    run, html = pages("digits")
    assert "headstart predict runs/digits new/*.jpg" in html
    assert str(run.path.parent.parent) not in html


def test_equal_folders_give_equal_bytes(pages):
    run, html = pages("digits")
    assert page(read_run_folder(run.path)) == html


def test_a_name_with_quotes_is_quoted_in_commands(make_run, tmp_path):
    folder = make_run("no_test").rename(tmp_path / "runs" / "it's; rm -rf")
    html = render_report(folder).read_text(encoding="utf-8")
    assert "headstart predict &#39;runs/it&#39;&#34;&#39;&#34;&#39;s; rm -rf&#39; new/*.jpg" in html


def test_the_page_is_replaced_whole_or_not_at_all(make_run):
    folder = make_run("no_test")
    target = render_report(folder)
    before = target.read_bytes()
    (folder / "report.json").write_text("{", encoding="utf-8")
    with pytest.raises(StoreError):
        render_report(folder)
    assert target.read_bytes() == before
    assert not [p for p in os.listdir(folder) if p.endswith(".tmp")]


PARTS = [
    "model",
    "data",
    "strategy",
    "metrics",
    "baselines",
    "guard",
    "tried",
    "screen",
    "cost",
    "calibration",
]
PARTS += [
    "confusion",
    "per_class",
    "worst",
    "options",
    "versions",
    "notes",
    "task",
    "metric",
    "seeds",
    "status",
]


@pytest.mark.parametrize("key", PARTS)
def test_any_part_may_be_missing_or_null(make_run, key):
    folder = make_run("binary")
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    report["calibration"]["bins"] = []
    report[key] = None
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    nulled = read_run_folder(folder)
    del report[key]
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    assert read_run_folder(folder).report == nulled.report
    assert not Page(page(nulled)).wrong


def test_metrics_that_are_not_defined_are_a_dash(make_run):
    folder = make_run("no_test")
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    report["metrics"] = {"validation": {"auroc": None, "accuracy": {"value": float("nan")}, "macro_f1": 0.5}}
    text = json.dumps(report)
    assert "NaN" in text
    (folder / "report.json").write_text(text.replace('{"value": NaN}', "NaN"), encoding="utf-8")
    said = Page(render_report(folder).read_text(encoding="utf-8")).said()
    assert "50.0%" in said
    assert " nan" not in said.lower()


def test_a_run_folder_is_not_changed_otherwise(make_run):
    folder = make_run("interrupted")
    before = {p.name: p.read_bytes() for p in Path(folder).iterdir()}
    render_report(folder)
    after = {p.name: p.read_bytes() for p in Path(folder).iterdir()}
    assert after.pop("report.html")
    assert after == before


def test_what_is_not_defined_is_left_out_wherever_it_stands(make_run):
    """As metrics are written where a test part has one class: a value that is null."""
    folder = make_run("binary")
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    undefined = {"value": None, "low": None, "high": None}
    report["metrics"]["test"]["auroc"] = report["guard"]["gap"] = report["tried"][0]["validation"] = undefined
    report["baselines"]["raw_features"]["test"]["auroc"] = undefined
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    run = read_run_folder(folder)
    assert "auroc" not in run.report.metrics["test"]
    assert run.report.guard.gap is None
    assert not Page(page(run)).wrong


def test_of_an_error_less_is_better():
    gain = Gain(more=1000, value=0.412, low=0.1, high=0.7)
    assert gain_text(gain, metric_words("rmse")).endswith("about 0.412 less root mean squared error (0.1 to 0.7)")
    assert gain_text(gain, metric_words("accuracy")).endswith("about +41.2 points of accuracy (10.0 to 70.0)")


def test_labels_of_several_are_not_called_answers(make_run):
    folder = make_run("multilabel")
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    report["calibration"] = {
        "temperature": 1.2, "before": {"ece": None}, "after": {"ece": None},
        "bins": [{"low": 0.0, "high": 0.5, "n": 40, "confidence": 0.2, "accuracy": 0.3}],
    }  # fmt: skip
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    said = Page(page(read_run_folder(folder))).said()
    assert "such labels apply as often as it says" in said
    assert "Calibration error" not in said


@pytest.mark.parametrize("kind", ["digits", "interrupted"])
def test_the_skip_link_leads_somewhere(pages, kind):
    parsed = Page(pages(kind)[1])
    ids = {a.get("id") for _, a in parsed.tags}
    assert {a["href"][1:] for t, a in parsed.tags if a.get("class") == "skip"} <= ids
