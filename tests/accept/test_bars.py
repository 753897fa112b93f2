"""Bars of quality and speed: `make accept`. Half an hour of two quiet cores; no tests of correctness."""

from __future__ import annotations

import time

import pytest

import headstart as hs

pytestmark = [pytest.mark.accept, pytest.mark.filterwarnings("default")]

LITE = "sample:efficientnet_lite0"


def accuracy(run):
    return run.metrics["test"]["accuracy"]["value"]


def fit(tmp_path, **options):
    start = time.monotonic()
    run = hs.fit("sample:mnist5k", out=tmp_path / "run", seed=0, **options)
    return accuracy(run), time.monotonic() - start, run


def test_default_run(tmp_path):
    value, seconds, _ = fit(tmp_path, model=LITE)
    print(f"\n4,000 digits: {value:.3f} in {seconds:.0f} s")
    assert value >= 0.987
    assert seconds <= 300


@pytest.mark.parametrize(
    ("samples", "strategy", "bar"), [(500, "auto", 0.97), (500, "probe", 0.96), (100, "auto", 0.91)]
)
def test_few_samples(tmp_path, samples, strategy, bar):
    value, seconds, _ = fit(tmp_path, model=LITE, train_size=samples, strategy=strategy)
    print(f"\n{samples} digits, {strategy}: {value:.3f} in {seconds:.0f} s")
    assert value >= bar


@pytest.mark.xfail(
    strict=True, reason="not reached: 2.1 points at 4,000 digits, 6.6 at 500; README's `Measured` says what it is"
)
@pytest.mark.parametrize(("samples", "points"), [(None, 0.05), (500, 0.10)])
def test_scratch_is_worse(tmp_path, samples, points):
    options = {} if samples is None else {"train_size": samples}
    pretrained, _, _ = fit(tmp_path / "a", model=LITE, **options)
    scratch, _, _ = fit(tmp_path / "b", model=f"scratch:{LITE}", **options)
    print(f"\n{samples or 4000} digits: pretrained {pretrained:.3f}, scratch {scratch:.3f}")
    assert pretrained - scratch >= points


def test_ranking_four_networks():
    start = time.monotonic()
    lites = [f"sample:efficientnet_lite{size}" for size in (0, 1, 2)]
    found = hs.rank("sample:mnist5k", [*lites, "scratch:timm:efficientnet_lite0"])
    seconds = time.monotonic() - start
    for row in found["models"]:
        print(f"\n{row['model']}: {row['probe']['value']:.3f} at {row['stage']}", end="")
    print(f" in {seconds:.0f} s")
    assert seconds <= 180
    assert found["models"][-1]["model"].startswith("scratch:")


def test_colour_photographs(tmp_path):
    start = time.monotonic()
    run = hs.fit("sample:photo-crops", model=LITE, seed=0, image_size=224, out=tmp_path / "run")
    seconds = time.monotonic() - start
    last = run.data["baselines"]["linear_probe"]["test"]["accuracy"]["value"]
    print(f"\nphotographs at 224 px: {accuracy(run):.3f}, probe on the last layer {last:.3f}, in {seconds:.0f} s")
    assert seconds <= 300
    assert accuracy(run) >= last
