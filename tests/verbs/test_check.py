"""`check`: planted faults are found, named and told what to do about; clean data give no alarm."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import headstart as hs
from headstart.features import solved
from headstart.inspect.classes import examine_numbers
from headstart.verbs import doubts
from headstart.verbs.check import check

TINY = {"model": "scratch:timm:test_resnet", "image_size": 32}


def topics(found: dict[str, Any], level: str | None = None) -> list[str]:
    return [f["topic"] for f in found["findings"] if level in (None, f["level"])]


def one(found: dict[str, Any], topic: str) -> dict[str, Any]:
    return next(f for f in found["findings"] if f["topic"] == topic)


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """800 digits of the sample and their classes."""
    data = hs.load_data("sample:mnist5k")
    rows = np.random.default_rng(0).permutation(data.given_parts["train"])[:800]
    return np.stack([data.read(int(i)).inputs for i in rows]), np.asarray(data.labels("label"))[rows]


def test_clean_data_raise_no_alarm(digits: Any) -> None:
    x, y = digits
    found = check(hs.load_data((x[:600], y[:600]), test=(x[600:], y[600:])), model="sample:efficientnet_lite0")
    assert topics(found, "serious") == []
    assert "shift" not in topics(found)
    assert found["measured"]["shift"]["p"] > 0.01
    assert found["measured"]["label_errors"]["estimate"] <= 0.03 * 600
    assert len(found["suspicious"]) == found["parts"]["train"]
    assert json.loads(json.dumps(found)) == found


def test_flipped_labels_are_among_the_most_doubtful(digits: Any) -> None:
    x, y = digits
    r = np.random.default_rng(1)
    flipped = r.permutation(len(y))[:80]
    noisy = y.copy()
    noisy[flipped] = (y[flipped] + r.integers(1, 10, 80)) % 10
    data = hs.load_data((x, noisy))
    found = check(data, model="sample:efficientnet_lite0")
    train = set(found["suspicious"])
    wrong = {data.ids[i] for i in flipped} & train
    doubtful = set(found["suspicious"][: round(0.12 * len(train))])
    assert len(wrong & doubtful) >= 0.95 * len(wrong)
    labels = one(found, "labels")
    assert labels["level"] == "serious"
    assert len(set(labels["samples"]) & wrong) >= 0.8 * len(labels["samples"])


def test_copies_in_a_given_test_part_are_leakage(shapes: ModuleType) -> None:
    x, y = shapes.arrays(40, shapes.KINDS)
    test_x, test_y = shapes.arrays(10, shapes.KINDS, start=100)
    test_x[:3] = x[:3]
    found = check(hs.load_data((x, y), test=(test_x, test_y)), **TINY)
    leak = one(found, "leakage")
    assert (leak["level"], leak["count"]) == ("serious", 3)
    assert len(leak["samples"]) == 3
    assert found["findings"][0]["level"] == "serious", "the most important first"


def test_a_weak_probe_does_not_cry_wolf(shapes: ModuleType) -> None:
    x, y = shapes.arrays(40, shapes.KINDS)
    found = check(hs.load_data((x, y)), **TINY)
    labels = [f for f in found["findings"] if f["topic"] == "labels"]
    assert all(f["level"] == "note" for f in labels)


def test_a_shifted_test_part_is_found_without_its_labels(shapes: ModuleType) -> None:
    x, y = shapes.arrays(60, shapes.KINDS)
    test_x, test_y = shapes.arrays(40, shapes.KINDS, start=100)
    dark = (test_x // 3).astype(np.uint8)
    found = check(hs.load_data((x, y), test=(dark, test_y)), **TINY)
    assert one(found, "shift")["level"] == "serious"
    assert found["measured"]["shift"]["p"] <= 0.01
    other = check(hs.load_data((x, y), test=(dark, np.roll(test_y, 7))), **TINY)
    assert [f for f in other["findings"] if f["topic"] == "shift"] == [
        f for f in found["findings"] if f["topic"] == "shift"
    ]


def test_what_was_examined_once_is_read_again(
    shapes: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path))
    monkeypatch.setattr(solved, "WORTH_KEEPING", 0)
    x, y = shapes.arrays(40, shapes.KINDS)
    data = hs.load_data((x, y), test=(255 - x[:24], y[:24]))
    first = check(data, **TINY)

    def never(*_: Any) -> Any:
        raise AssertionError("examined again")

    for name in ("discriminate", "distances_to_neighbours"):
        monkeypatch.setattr(sys.modules[check.__module__], name, never)
    monkeypatch.setattr(doubts, "suspicious_labels", never)
    assert check(data, **TINY) == first
    with pytest.raises(AssertionError, match="examined again"):
        check(hs.load_data((x, y), test=(255 - x[:23], y[:23])), **TINY)


def test_a_class_missing_from_training_and_a_rare_one(shapes: ModuleType) -> None:
    x, y = shapes.arrays(40, shapes.KINDS)
    keep = (y != "line") | (np.arange(len(y)) < 12)
    test_x, test_y = shapes.arrays(10, shapes.KINDS, start=100)
    new = test_y.copy()
    new[:2] = "star"
    found = check(hs.load_data((x[keep], y[keep]), test=(test_x, new)), **TINY)
    said = " ".join(f["text"] for f in found["findings"] if f["topic"] == "classes")
    assert "no training sample: star" in said
    assert "line (" in said


def test_texts_cut_off_are_told(tmp_path: Path) -> None:
    from tests.verbs import words_and_curves as made

    rows = [(made.text(i, 60), made.label(i)) for i in range(80)]
    table = made.table(tmp_path / "t.csv", ("text", "label"), rows)
    found = check(table, model="scratch:gru", max_length=16)
    inputs = one(found, "inputs")
    assert "cut off" in inputs["text"]
    assert "--max-length" in inputs["todo"]


def test_numbers_as_labels_and_series(tmp_path: Path, shapes: ModuleType) -> None:
    from tests.verbs import words_and_curves as made

    made.arrays(tmp_path / "s.npz")
    assert check(tmp_path / "s.npz", model="scratch:gru")["findings"] is not None
    x, kinds = shapes.arrays(30)
    y = (kinds == "disc") + np.random.default_rng(0).normal(size=len(x)) * 0.1
    found = check(hs.load_data((x, y), task="regression"), **TINY)
    assert "only 50 labelled training samples" in one(found, "labels")["text"]
    assert len(found["suspicious"]) == 50


def test_numbers_far_from_what_is_predicted_are_doubtful(digits: Any) -> None:
    """How much ink a digit takes, ten of them typed with the decimal point in the wrong place."""
    x, _ = digits
    ink = x.reshape(len(x), -1).mean(1)
    wrong = np.random.default_rng(2).permutation(len(x))[:10]
    y = ink.copy()
    y[wrong] *= 10
    data = hs.load_data((x, y), task="regression")
    found = check(data, model="sample:efficientnet_lite0", image_size=64)
    planted = {data.ids[i] for i in wrong} & set(found["suspicious"])
    assert set(found["suspicious"][: len(planted)]) == planted
    doubtful = one(found, "labels")
    assert planted <= set(doubtful["samples"])
    assert "values" in doubtful["text"]
    assert doubtful["level"] == "worth a look", "ten gross errors do not make the probe that found them useless"


def test_one_of_several_labels_that_is_wrong_is_doubtful(digits: Any) -> None:
    """Of each digit whether it is even, and whether it is above four; of forty the first is turned round."""
    x, digit = digits
    sets = np.stack([digit % 2 == 0, digit > 4], 1).astype(int)
    wrong = np.random.default_rng(3).permutation(len(x))[:40]
    sets[wrong, 0] = 1 - sets[wrong, 0]
    data = hs.load_data((x, sets))
    found = check(data, model="sample:efficientnet_lite0", image_size=64)
    planted = {data.ids[i] for i in wrong} & set(found["suspicious"])
    doubted = set(found["suspicious"][: 3 * len(planted)])
    assert len(planted & doubted) >= 0.9 * len(planted)
    assert one(found, "labels")["count"] > 0.5 * len(planted)


@pytest.mark.parametrize("draw", ["normal", "lognormal", "pareto", "uniform", "standard_t"])
def test_values_that_cannot_be_are_named_and_long_tails_are_not(draw: str) -> None:
    called = 0
    for seed in range(40):
        r = np.random.default_rng(seed)
        given = {"lognormal": (0, 1.5), "pareto": (2.5,), "standard_t": (4,)}.get(draw, (0, 1))
        values = getattr(r, draw)(*given, size=300)
        called += any("far outside" in f.text for f in examine_numbers(values, list(map(str, range(300)))))
        values[7] = values.max() * 30 + 1
        found = examine_numbers(values, list(map(str, range(300))))
        assert found[0].samples == ("7",)
        assert found[0].text.startswith("1 training value is far outside")
    assert called <= 4


def test_pictures_whose_ends_no_network_sees_are_named(shapes: ModuleType) -> None:
    x, y = shapes.arrays(30)
    wide = np.concatenate([x, x[::-1], x], axis=2)
    found = check(hs.load_data((wide, y)), **TINY)
    assert "a median of 67% of such a picture is cut off" in one(found, "inputs")["text"]
    assert found["put_aside"] == found["parts"]["test"] > 0
    assert not any("cut off" in f["text"] for f in check(hs.load_data((x, y)), **TINY)["findings"])


@pytest.mark.parametrize("labels", [["disc"], ["disc", "all"]])
def test_a_label_that_every_sample_has_is_none_to_doubt(labels: list[str], shapes: ModuleType) -> None:
    x, y = shapes.arrays(40)
    sets = np.stack([(y == "disc") | (name == "all") for name in labels], 1).astype(int)
    found = check(hs.load_data((x, sets), task="multi-label"), **TINY)
    assert len(found["suspicious"]) == found["parts"]["train"]


def test_copies_within_the_data_are_named_in_pairs(shapes: ModuleType) -> None:
    x, y = shapes.arrays(40, shapes.KINDS)
    doubled = hs.load_data((np.concatenate([x, x[:20]]), np.concatenate([y, y[:20]])))
    found = check(doubled, **TINY)
    copies = one(found, "copies")
    assert (copies["level"], copies["count"]) == ("worth a look", 20)
    assert f"{doubled.ids[len(x)]} = {doubled.ids[0]}" in copies["samples"]
    assert found["measured"]["copies"] == {"exact": 20, "all": 20, "of": len(x) + 20}
    assert "copies" not in topics(check(hs.load_data((x, y)), **TINY))


def test_labels_of_a_test_part_are_not_read(shapes: ModuleType) -> None:
    """Copies within it that have other labels are no finding; those in training are, and named."""
    x, y = shapes.arrays(40, shapes.KINDS)
    test_x, test_y = shapes.arrays(20, shapes.KINDS, start=100)
    x[1], test_x[1] = x[0], test_x[0]
    y[:2] = shapes.KINDS[:2]
    test_y[:2] = shapes.KINDS[:2]
    data = hs.load_data((x, y), test=(test_x, test_y))
    found = check(data, **TINY)
    torn = next(f for f in found["findings"] if "copies with other labels" in f["text"])
    assert set(torn["samples"]) == {data.ids[0], data.ids[1]}
    assert "keep one sample" in torn["todo"]
    assert check(hs.load_data((x, y), test=(test_x, np.roll(test_y, 1))), **TINY)["findings"] == found["findings"]


def test_pictures_that_are_broken_alone_or_the_same_in_another_light(digits: Any, tmp_path: Path) -> None:
    from PIL import Image

    x, y = digits
    given = []
    for part, rows in (("train", range(300)), ("test", range(300, 360))):
        for i in rows:
            place = tmp_path / part / str(y[i]) / f"{i:03d}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(x[i].squeeze()).save(place)
            given.append(place)
    given[3].write_bytes(b"broken")
    noise = np.random.default_rng(0).integers(0, 255, x[0].squeeze().shape).astype(np.uint8)
    Image.fromarray(noise).save(given[7])
    Image.fromarray((0.95 * x[20].squeeze()).astype(np.uint8)).save(given[330])
    found = check(tmp_path, model="sample:efficientnet_lite0")
    broken = next(f for f in found["findings"] if "cannot be read" in f["text"])
    assert broken["count"] == 1
    assert given[3].name in broken["samples"][0]
    assert broken["todo"]
    outliers = one(found, "outliers")["samples"]
    assert given[7].name in outliers[0]
    assert len(outliers) <= 5
    near = next(f for f in found["findings"] if "in the network's eyes" in f["text"])
    assert near["count"] == 1
    assert given[330].name in near["samples"][0]
    assert given[20].name in near["samples"][0]
    small = one(found, "inputs")
    assert small["samples"]
    assert small["todo"]


def test_a_person_reads_it_within_80_columns(shapes: ModuleType, tmp_path: Path, capsys: Any) -> None:
    from headstart.cli.main import _run

    shapes.folder(tmp_path / "d", 24, shapes.KINDS)
    assert _run(["check", "d", "--model", TINY["model"], "--image-size", "32"]) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    assert "1. " in said or "Nothing stands in the way." in said
