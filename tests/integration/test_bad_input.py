"""Every mistake gets one message (what, where, what to do), exit code 2, and leaves nothing half-written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

QUICK = ("--model", "scratch:timm:test_resnet", "--image-size", "32", "--stage", "last", "--epochs", "1")


def test_data_that_are_none(refused: Callable[..., str], shapes: ModuleType, tmp_path: Path) -> None:
    assert "nowhere" in refused("fit", "nowhere", *QUICK)
    assert "no-table.csv" in refused("fit", "no-table.csv", *QUICK)
    (tmp_path / "empty").mkdir()
    assert "no pictures" in refused("fit", "empty", *QUICK)
    shapes.folder(tmp_path / "one", 4, ("box",))
    assert "only one class" in refused("fit", "one", *QUICK)
    shapes.folder(tmp_path / "two", 1)
    refused("fit", "two", *QUICK)
    (tmp_path / "t.csv").write_text("file,kind\nnone.png,a\ngone.png,b\n")
    assert "none.png" in refused("fit", "t.csv", "--image", "file", "--label", "kind", *QUICK)
    assert "'kind'" in refused("fit", "t.csv", "--image", "file", "--label", "kinds", *QUICK)
    assert "mnist5k" in refused("fit", "sample:mnist", *QUICK)
    assert "to learn from" in refused("fit")


def test_labels_that_are_missing(refused: Callable[..., str], shapes: ModuleType, tmp_path: Path) -> None:
    shapes.folder(tmp_path / "p", 3)
    lines = ["file,kind", *(f"p/box/{i:03}.png," for i in range(3))]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    assert "label" in refused("fit", "t.csv", "--image", "file", "--label", "kind", *QUICK)


def test_pictures_that_cannot_be_read(
    refused: Callable[..., str], here: Any, shapes: ModuleType, tmp_path: Path
) -> None:
    shapes.folder(tmp_path / "p", 15)
    whole = (tmp_path / "p" / "box" / "000.png").read_bytes()
    (tmp_path / "p" / "box" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "p" / "disc" / "none.jpg").write_bytes(b"")
    error = refused("fit", "p", "--bad-samples", "refuse", *QUICK)
    assert "2 of 32" in error
    assert "cut.png" in error
    said = here("fit", "p", *QUICK, "--strategy", "probe", "--out", "skips", "--json")
    assert said.code == 0
    notes = " ".join(n["text"] for n in json.loads(said.out)["data"]["notes"])
    assert "2 of 32" in notes
    assert "cut.png" in notes
    assert "none.jpg" in notes
    for i in range(4):
        (tmp_path / "p" / "disc" / f"bad{i}.png").write_bytes(b"x")
    assert "6 of 36" in refused("fit", "p", *QUICK)


@pytest.mark.parametrize(
    ("options", "near"),
    [
        (("--model", "timm:resnet5O"), "resnet50"),
        (("--model", "sample:efficientnet_light0"), "efficientnet_lite0"),
        (("--model", "resnet50"), "timm:"),
        (("--model", "file:gone.safetensors", "--arch", "test_resnet"), "gone.safetensors"),
        (("--model", "file:gone.safetensors"), "arch"),
        (("--model", "run:gone"), "gone"),
        (("--stage", "layer"), "layer1"),
        (("--metric", "accurracy"), "accuracy"),
        (("--strategy", "ful"), "full"),
        (("--image-size", "big"), "auto"),
        (("--image-size", "3"), "8"),
        (("--image-size", "-32"), "8"),
        (("--epochs", "0"), "1"),
        (("--lr", "fast"), "find"),
        (("--lr", "-1"), "greater than 0"),
        (("--lr", "nan"), "finite"),
        (("--lr", "fnd"), "Did you mean 'find'"),
        (("--batch-size", "0"), "1"),
        (("--batch-size", "many"), "auto"),
        (("--augment", "mild"), "light"),
        (("--train-size", "1"), "2"),
        (("--device", "cuda:7"), "cpu"),
        (("--group", "patient"), "table"),
        (("--valid", "nowhere"), "nowhere"),
        (("--test", "nowhere"), "nowhere"),
        (("--task", "regresion"), "regression"),
        (("--epoch", "3"), "--epochs"),
        (("--config", "none.yaml"), "none.yaml"),
        (("--config", "wrong.yaml"), "epochs"),
    ],
)
def test_options_that_are_wrong(
    options: tuple[str, ...], near: str, refused: Callable[..., str], shapes: ModuleType, tmp_path: Path
) -> None:
    shapes.folder(tmp_path / "p", 4)
    (tmp_path / "wrong.yaml").write_text("seed: 1\nepoch: 3\n")
    error = refused("fit", "p", *QUICK, *options)
    assert near in error


def test_weights_that_do_not_fit_are_named(refused: Callable[..., str], shapes: ModuleType, tmp_path: Path) -> None:
    shapes.folder(tmp_path / "p", 4)
    save_file({"conv1.weight": torch.zeros(3, 3)}, tmp_path / "w.safetensors")
    options = ("--model", "file:w.safetensors", "--image-size", "32")
    error = refused("fit", "p", *options, "--arch", "test_resnet")
    assert "conv1" in error
    assert "timm:test_resnet" in refused("fit", "p", *options, "--arch", "test_resnett")
    (tmp_path / "w.safetensors").write_bytes(b"damaged")
    assert "w.safetensors" in refused("fit", "p", *options, "--arch", "test_resnet")


def test_a_hub_out_of_reach_says_what_is_there(
    start: Callable[..., subprocess.Popen[str]], shapes: ModuleType, tmp_path: Path
) -> None:
    shapes.folder(tmp_path / "p", 4)
    empty = str(tmp_path / "hub")
    process = start("fit", "p", "--model", "timm:resnet18", HF_HUB_OFFLINE="1", HF_HOME=empty)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 2, err
    assert out == ""
    assert "Traceback" not in err
    assert "resnet18" in err
    assert "sample:efficientnet_lite0" in err
    assert not (tmp_path / "runs").exists()


def test_folders_that_are_taken(refused: Callable[..., str], here: Any, shapes: ModuleType, tmp_path: Path) -> None:
    from filelock import FileLock

    shapes.folder(tmp_path / "p", 6)
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    assert "is a file" in refused("fit", "p", *QUICK, "--out", "file")
    assert "not empty" in refused("fit", "p", *QUICK, "--out", "full")
    assert "file" in refused("fit", "p", *QUICK, "--out", "file/below")
    assert here("fit", "p", *QUICK, "--strategy", "probe", "--out", "run").code == 0
    assert "finished run" in refused("fit", "p", *QUICK, "--out", "run")
    (tmp_path / "run" / "report.json").unlink()
    assert "headstart resume run" in refused("fit", "p", *QUICK, "--out", "run")
    with FileLock(tmp_path / "run" / ".lock"):
        said = here("resume", "run")
    assert said.code == 2
    assert "in use by another process" in said.err


def limited(root: Path, size: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`headstart` in a process that cannot write a file of more than `size` bytes."""
    import signal

    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}));"
        "from headstart.cli.main import main; main(sys.argv[1:])"
    )
    assert signal.SIGXFSZ
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=root,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HEADSTART_CACHE": str(root / "cache")},
    )


@pytest.mark.skipif(sys.platform == "win32", reason="limits of files are those of Unix")
def test_a_disk_that_refuses_leaves_a_run_that_can_go_on(shapes: ModuleType, tmp_path: Path, here: Any) -> None:
    """The weights (300 kB) do not fit, everything before them does: as on a disk that is almost full."""
    shapes.folder(tmp_path / "p", 12)
    assert here("--version").code == 0
    said = limited(tmp_path, 200_000, "fit", "p", *QUICK, "--strategy", "full", "--out", "run")
    assert said.returncode == 2, said.stderr
    assert "Traceback" not in said.stderr
    assert "Error: Cannot write" in said.stderr
    assert not list((tmp_path / "run").rglob("*.tmp"))
    assert not (tmp_path / "run" / "bundle" / "bundle.json").exists()
    assert not (tmp_path / "run" / "report.json").exists()
    done = here("resume", "run")
    assert done.code == 0, done
    assert here("predict", "run", "p/box/000.png").code == 0


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="an administrator may write anywhere")
def test_a_folder_without_permission(refused: Callable[..., str], shapes: ModuleType, tmp_path: Path) -> None:
    shapes.folder(tmp_path / "p", 6)
    (tmp_path / "closed").mkdir(mode=0o500)
    assert "may not write" in refused("fit", "p", *QUICK, "--out", "closed/run")


def test_predict_and_evaluate_refuse_too(here: Any, shapes: ModuleType, tmp_path: Path) -> None:
    shapes.folder(tmp_path / "p", 6)
    assert here("fit", "p", *QUICK, "--strategy", "probe", "--out", "run").code == 0
    np.save(tmp_path / "x.npy", np.zeros(3))
    for arguments, word in (
        (("predict", "gone", "p/box/000.png"), "gone"),
        (("predict", "p", "p/box/000.png"), "neither a run nor a bundle"),
        (("predict", "run", "gone.png"), "gone.png"),
        (("predict", "run", "*.none"), "*.none"),
        (("predict", "run", "x.npy"), "x.npy"),
        (("predict", "run", "p", "--top", "0"), "--top"),
        (("predict", "run", "p", "--csv", "--json"), "both"),
        (("predict", "run", "p", "--device", "tpu"), "tpu"),
        (("evaluate", "run", "gone"), "gone"),
        (("evaluate", "run", "run"), "The model knows: box, disc"),
        (("report", "p"), "not a run folder"),
        (("resume", "p"), "not a run folder"),
    ):
        said = here(*arguments)
        assert said.code == 2, (arguments, said)
        assert word in said.err + said.out, arguments
        assert "Traceback" not in said.err
