"""Every mode, depth and orientation of picture file, and every way in which a file can be broken."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from headstart.data.pictures import BadPicture, as_picture, decode, unit_range


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]))))
def test_png_gives_back_exactly_what_was_stored(array: np.ndarray) -> None:
    image = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
    np.testing.assert_array_equal(decode(encode(image, "PNG")), array)


def test_one_bit_becomes_black_and_white() -> None:
    image = Image.fromarray(np.array([[True, False]]))
    assert decode(encode(image, "PNG")).tolist() == [[[255], [0]]]


def test_palette_with_transparency_lies_on_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])
    assert decode(encode(image, "PNG")).tolist() == [[[10, 20, 30], [200, 100, 50]]]
    assert decode(encode(image, "PNG", transparency=1)).tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_palette_with_transparency_in_bytes_does_not_warn() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 200, 100, 50])
    image.putdata([0, 1])
    assert decode(encode(image, "PNG", transparency=bytes([128, 255]))).tolist() == [[[127, 127, 127], [200, 100, 50]]]


def test_alpha_is_composited_over_white() -> None:
    image = Image.new("RGBA", (1, 1), (100, 0, 0, 128))
    red, green, blue = decode(encode(image, "PNG"))[0, 0]
    assert green == blue == 127
    assert abs(int(red) - 177) <= 1
    grey = decode(encode(Image.new("LA", (1, 1), (0, 0)), "PNG"))
    assert grey.tolist() == [[[255]]]


def test_cmyk_jpeg_becomes_rgb() -> None:
    picture = decode(encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    assert picture.shape == (8, 8, 3)
    red, green, blue = picture[4, 4].astype(int)
    assert red > 200
    assert max(green, blue) < 60


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_by_the_range_of_its_type(kind: str) -> None:
    values = np.array([[0, 257, 32896, 65535]], np.uint16)
    assert decode(encode(Image.fromarray(values), kind))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_32_bit_integers_beyond_16_bits_use_their_own_range() -> None:
    values = np.array([[-100_000, 0, 100_000]], np.int32)
    assert decode(encode(Image.fromarray(values), "TIFF"))[0, :, 0].tolist() == [0, 128, 255]


def test_float_tiff_stays_float_on_the_scale_0_to_1() -> None:
    values = np.array([[0.0, 0.25, 1.0]], np.float32)
    picture = decode(encode(Image.fromarray(values), "TIFF"))
    assert picture.dtype == np.float32
    np.testing.assert_array_equal(picture[0, :, 0], [0, 0.25, 1])
    bad = Image.fromarray(np.array([[np.nan, 1.0]], np.float32))
    with pytest.raises(BadPicture, match="NaN"):
        decode(encode(bad, "TIFF"))


def test_exif_orientation_is_applied() -> None:
    image = Image.fromarray(np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8).repeat(8, 0).repeat(8, 1))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn clockwise by 90 degrees
    picture = decode(encode(image, "PNG", exif=exif))
    assert picture.shape == (16, 8, 3)
    assert picture[0, 0].tolist() == [255, 0, 0]
    assert picture[-1, 0].tolist() == [0, 0, 255]


def test_heic_is_read_whatever_the_file_is_called(tmp_path: Path) -> None:
    import pillow_heif

    heif = pillow_heif.from_pillow(Image.new("RGB", (64, 48), (200, 30, 30)))
    heif.save(tmp_path / "phone.heic", quality=90)
    (tmp_path / "phone.jpg").write_bytes((tmp_path / "phone.heic").read_bytes())
    for name in ("phone.heic", "phone.jpg"):
        picture = decode(tmp_path / name)
        assert picture.shape == (48, 64, 3)
        assert np.abs(picture[20, 20].astype(int) - [200, 30, 30]).max() < 12


def test_of_an_animation_the_first_frame_is_read() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    content = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(content)[0, 0].tolist() == [255, 0, 0]


def test_a_size_hint_reduces_large_jpegs_but_never_below_the_hint() -> None:
    content = encode(Image.new("RGB", (800, 600), "green"), "JPEG")
    assert decode(content).shape == (600, 800, 3)
    small = decode(content, size_hint=100)
    assert small.shape[0] < 600
    assert min(small.shape[:2]) >= 100


def noisy(kind: str) -> bytes:
    array = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    return encode(Image.fromarray(array), kind)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"])
def test_a_truncated_file_is_found(kind: str) -> None:
    content = noisy(kind)
    with pytest.raises(BadPicture, match=r"truncated|known format"):
        decode(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"hello, this is text", "not a picture"), (b"\xff\xd8\xff", "known format|damaged")],
)
def test_what_is_no_picture_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    with pytest.raises(BadPicture, match=reason):
        decode(path)
    with pytest.raises(BadPicture, match="no such file"):
        decode(tmp_path / "missing.png")
    with pytest.raises(BadPicture, match="folder"):
        decode(tmp_path)


def test_a_decompression_bomb_is_refused_without_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encode(Image.new("L", (100, 100)), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(BadPicture, match="too large"):
        decode(content)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 6000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(content).shape == (100, 100, 1)


def test_decoding_leaves_the_filters_of_warnings_alone() -> None:
    before = list(warnings.filters)
    decode(noisy("PNG"))
    assert list(warnings.filters) == before


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((5, 6), (5, 6, 1)), ((3, 5, 6), (5, 6, 3)), ((5, 6, 3), (5, 6, 3)), ((1, 5, 6), (5, 6, 1))],
)
def test_arrays_are_turned_where_only_one_reading_makes_sense(
    shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    assert as_picture(np.zeros(shape, np.uint8)).shape == expected


def test_types_of_arrays() -> None:
    assert as_picture(np.array([[True, False]]))[:, :, 0].tolist() == [[255, 0]]
    assert as_picture(np.array([[300, -5]]))[:, :, 0].tolist() == [[255, 0]]
    assert as_picture(np.full((1, 1, 4), [0, 0, 0, 0], np.uint8)).tolist() == [[[255, 255, 255]]]
    assert as_picture(np.array([[65535]], np.uint16)).item() == 255
    for bad in (
        np.zeros(3),
        np.zeros((2, 2, 2, 2)),
        np.zeros((0, 4)),
        np.array([["a"]]),
        np.array([[np.inf]]),
    ):
        with pytest.raises(BadPicture):
            as_picture(bad)


@given(hnp.arrays(np.float32, 6, elements=st.floats(-1e5, 1e5, width=32)))
def test_unit_range_keeps_order_and_bounds(values: np.ndarray) -> None:
    scaled = unit_range(values)
    assert scaled.min() >= 0
    assert scaled.max() <= 1
    assert (np.diff(scaled[np.argsort(values)]) >= 0).all()
