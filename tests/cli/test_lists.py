"""`samples`, `models`, `methods` and `doctor`: the same rows for a person and for a program."""

from __future__ import annotations

import json

import pytest

from headstart.verbs import doctor


@pytest.mark.parametrize(
    ("command", "key", "names"),
    [
        ("samples", "name", {"mnist5k", "optdigits", "faces"}),
        ("models", "reference", {f"sample:efficientnet_lite{i}" for i in range(3)}),
        ("methods", "name", {"probe", "partial", "full", "gradual", "lp-ft"}),
    ],
)
def test_lists_name_what_there_is(here, capsys, command: str, key: str, names: set[str]) -> None:
    assert here(command, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert names <= {row[key] for row in rows}
    assert here(command) == 0
    for_people = capsys.readouterr()
    assert for_people.err == ""
    assert max(map(len, for_people.out.splitlines())) <= 80
    assert all(name in for_people.out for name in names)


def test_methods_of_a_kind_and_a_family(here, capsys) -> None:
    assert here("methods", "--kind", "strategy", "--family", "cnn", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["kind"] for row in rows} == {"strategy", "default"}
    assert all(set(row["defaults"]) <= {"cnn"} for row in rows if row["kind"] == "strategy")
    advice = {row["name"]: row["value"] for row in rows if row["kind"] == "default"}
    assert (advice["lr"], advice["bn"]) == (1e-3, "freeze")
    assert all(row["source"] and row["summary"] for row in rows)


def test_doctor_finds_no_problem_where_the_tests_run(headstart) -> None:
    done = headstart("doctor", "--json")
    checks = {check["topic"]: check for check in json.loads(done.stdout)}
    assert {"python", "dependencies", "device", "torchvision", "processor", "memory", "home", "cache"} <= set(checks)
    assert [check for check in checks.values() if check["state"] == "problem"] == []
    assert done.returncode == 0
    # Whoever is told of a shortcoming is told what to do.
    assert all(check["todo"] for check in checks.values() if check["state"] != "ok")


def test_doctor_names_a_folder_that_cannot_be_written(monkeypatch, tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path / "file"))
    home = next(check for check in doctor._folders() if check.topic == "home")
    assert home.state == "problem"
    assert "HEADSTART_HOME" in home.todo


def test_doctor_names_what_is_broken_and_goes_on() -> None:
    def _torch():
        yield doctor.Check("device", "ok", "fine so far")
        raise OSError("libtorch.so: not a library")

    (check,) = doctor._careful(_torch)
    assert (check.topic, check.state) == ("torch", "problem")
    assert "libtorch.so: not a library" in check.text
