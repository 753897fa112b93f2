"""Predict with an exported model, without PyTorch and without Headstart: NumPy, Pillow and ONNX Runtime alone.

    headstart export RUN --out exported/
    python examples/predict_onnx.py exported/ photo1.jpg photo2.png

Prints one line per picture: file, class, probability; of several tasks the task comes second. Texts work the same way,
with `tokenizers` beside:

    python examples/predict_onnx.py exported/ "a sentence" "another one"
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime


def picture(path, about):
    """The centre square of a picture, resized, as (channels, rows, columns) of 0 to 255."""
    from PIL import Image, ImageOps

    channels = about["inputs"][0]["shape"][1]
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB" if channels == 3 else "L")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side))
    how = about["preprocessing"]
    if image.size != tuple(how["resize"]):
        filter_ = getattr(Image.Resampling, how["interpolation"].upper())
        image = image.resize(tuple(how["resize"]), filter_, reducing_gap=3.0)
    pixels = np.asarray(image)
    return pixels.transpose(2, 0, 1) if channels == 3 else pixels[None]


def tokens(texts, folder):
    """Token numbers and mask of some texts."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    made = [np.array(e.ids, np.int64) for e in tokenizer.encode_batch(texts)]
    ids = np.zeros((len(made), max(map(len, made))), np.int64)
    mask = np.zeros(ids.shape, bool)
    for row, (numbers, place) in enumerate(zip(made, mask, strict=True)):
        ids[row, : len(numbers)] = numbers
        place[: len(numbers)] = True
    return {"ids": ids, "mask": mask}


def main(folder, *given):
    folder = Path(folder)
    about = json.loads((folder / "model.json").read_text())
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    if about["inputs"][0]["name"] == "x":
        inputs = {"x": np.stack([picture(path, about) for path in given])}
    else:
        inputs = tokens(list(given), folder)
    for output in about["outputs"]:
        (rows,) = session.run([output["name"]], inputs)
        of = f"{output['task']}\t" if len(about["outputs"]) > 1 else ""
        for name, row in zip(given, rows, strict=True):
            best = int(row.argmax())
            print(f"{name}\t{of}{output['classes'][best] if output['classes'] else ''}\t{row[best]:.6f}")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
