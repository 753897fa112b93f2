from __future__ import annotations

import json

import pytest

from headstart.core.errors import StoreError
from headstart.report.folder import read_run_folder


def _change(folder, **changes):
    file = folder / "report.json"
    report = json.loads(file.read_text(encoding="utf-8")) | changes
    file.write_text(json.dumps(report), encoding="utf-8")


def test_a_newer_schema_is_refused_with_what_to_do(make_run):
    folder = make_run("no_test")
    _change(folder, schema=2)
    with pytest.raises(StoreError, match=r"schema 2; this Headstart reads up to 1") as error:
        read_run_folder(folder)
    assert "Upgrade" in error.value.hint


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '"text"'])
def test_a_damaged_report_is_refused(make_run, content):
    folder = make_run("no_test")
    (folder / "report.json").write_text(content, encoding="utf-8")
    with pytest.raises(StoreError, match=r"report\.json"):
        read_run_folder(folder)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"metrics": {"test": {"accuracy": {"value": "high"}}}}, r"metrics\.test\.accuracy\.value"),
        ({"confusion": {"classes": ["a", "b"], "matrix": [[1, 2]]}}, r"confusion: .*2 rows and columns"),
        ({"tried": [{"seconds": 1}]}, r"tried\.0\.name"),
    ],
)
def test_a_wrong_value_is_named_by_its_place(make_run, changes, where):
    folder = make_run("no_test")
    _change(folder, **changes)
    with pytest.raises(StoreError, match=where):
        read_run_folder(folder)


def test_what_is_no_run_folder_is_refused(tmp_path):
    with pytest.raises(StoreError, match="is not a run folder"):
        read_run_folder(tmp_path)
    with pytest.raises(StoreError, match="There is no run folder"):
        read_run_folder(tmp_path / "absent")


def test_half_a_last_line_is_passed_over_quietly(make_run):
    run = read_run_folder(make_run("interrupted"))
    assert len(run.events) == 2 * 21
    assert run.missing == []
    assert run.report.status == "unfinished"
    assert run.report.model.reference == "sample:efficientnet_lite0"
    assert run.report.data.fingerprint == "3f9a51c0de77"


def test_damaged_tables_are_named_and_left_out(make_run):
    folder = make_run("digits")
    (folder / "maps.parquet").write_bytes(b"PAR1 not really")
    run = read_run_folder(folder)
    assert run.maps is None
    assert len(run.missing) == 1
    assert run.missing[0].startswith("maps.parquet could not be read")


@pytest.mark.parametrize("content", ["- a\n- b\n", ": :", "", "\x00"])
def test_a_strange_configuration_does_not_stop_the_report(make_run, content):
    folder = make_run("interrupted")
    (folder / "config.yaml").write_text(content, encoding="utf-8")
    (folder / "data.json").write_text('{"notes": 3}', encoding="utf-8")
    assert read_run_folder(folder).report.name == "interrupted"
