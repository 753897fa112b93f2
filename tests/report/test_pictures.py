from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from headstart.report.pictures import Album


def _open(thumbnail):
    return Image.open(io.BytesIO(base64.b64decode(thumbnail.source.split(",", 1)[1])))


def test_small_pictures_stay_exact(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    thumbnail = Album(tmp_path).thumbnail("a.png")
    assert thumbnail.tiny
    assert (np.asarray(_open(thumbnail)) == pixels).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
def test_every_mode_becomes_a_small_picture(tmp_path, mode):
    Image.new(mode, (400, 200)).save(tmp_path / "a.tif")
    thumbnail = Album(tmp_path).thumbnail("a.tif")
    assert (thumbnail.width, thumbnail.height) == (96, 48)
    assert _open(thumbnail).size == (96, 48)


def test_photographs_are_small(tmp_path):
    y, x = np.mgrid[0:500, 0:500]
    noise = np.random.default_rng(0).normal(0, 10, (500, 500, 3))
    pixels = np.clip(128 + 60 * np.sin(x / 40 + y / 60)[..., None] + noise, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    thumbnail = Album(tmp_path).thumbnail("a.png")
    assert thumbnail.source.startswith("data:image/jpeg")
    assert len(thumbnail.source) < 8000


@pytest.mark.parametrize("path", ["../secret.png", "/etc/hostname", "absent.png", "text.png", "", "a\x00b", "folder"])
def test_what_is_outside_absent_or_no_picture_is_not_shown(tmp_path, path):
    run = tmp_path / "run"
    (run / "folder").mkdir(parents=True)
    Image.new("L", (8, 8)).save(tmp_path / "secret.png")
    (run / "text.png").write_text("no picture", encoding="utf-8")
    album = Album(run)
    assert album.thumbnail(path) is None
    assert album.unreadable == (1 if path else 0)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "secret.png")
    run = tmp_path / "run"
    run.mkdir()
    (run / "a.png").symlink_to(tmp_path / "secret.png")
    assert Album(run).thumbnail("a.png") is None


def test_the_budget_holds_and_what_it_leaves_out_is_counted(tmp_path):
    random = np.random.default_rng(0)
    for i in range(6):
        Image.fromarray(random.integers(0, 256, (60, 60), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    album = Album(tmp_path, budget=16_000)
    shown = [t for t in (album.thumbnail(f"{i}.png") for i in range(6)) if t]
    assert 0 < sum(len(t.source) for t in shown) <= 16_000
    assert album.left_out == 6 - len(shown) > 0
    assert album.thumbnail("0.png") is shown[0]
