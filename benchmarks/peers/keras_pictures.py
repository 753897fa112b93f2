"""Keras 3 on PyTorch with the same digits, weights and size; prints JSON.

    KERAS_BACKEND=torch python keras_pictures.py FOLDER WEIGHTS WHAT

FOLDER has train/ and test/ by class; WEIGHTS is a safetensors file of the backbone, which Keras runs inside its
`TorchModuleWrapper`. WHAT is `frozen` (five epochs of a dense head on the frozen body, Adam 1e-3, as Keras' guide to
transfer learning has it) or `all` (an epoch of everything, Adam 1e-5, the guide's second step).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"

from headstart.models.torchvision_import import prepare_torchvision

prepare_torchvision()

import keras  # noqa: E402
import numpy as np  # noqa: E402
import timm  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from torch.utils.data import DataLoader, Dataset  # noqa: E402

SIZE, BATCH = 96, 64


class Pictures(Dataset):
    def __init__(self, folder: Path, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        self.paths = sorted(folder.glob("*/*.png"))
        self.mean, self.std = np.float32(mean), np.float32(std)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        picture = Image.open(self.paths[i]).convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        x = (np.asarray(picture, np.float32) / 255 - self.mean) / self.std
        return torch.from_numpy(x.transpose(2, 0, 1).copy()), int(self.paths[i].parent.name)


class Seconds(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.epochs: list[float] = []

    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(time.perf_counter() - self.began)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("weights")
    parser.add_argument("what", choices=["frozen", "all"])
    asked = parser.parse_args()
    net = timm.create_model("efficientnet_lite0", pretrained=False, num_classes=0)
    net.load_state_dict(load_file(asked.weights), strict=False)
    mean, std = net.default_cfg["mean"], net.default_cfg["std"]
    train = DataLoader(Pictures(asked.folder / "train", mean, std), batch_size=BATCH, shuffle=True)
    test = DataLoader(Pictures(asked.folder / "test", mean, std), batch_size=BATCH)
    with keras.device("cpu"):
        body = keras.layers.TorchModuleWrapper(net.to(memory_format=torch.channels_last), output_shape=(None, 1280))
        body.trainable = asked.what == "all"
        inputs = keras.Input((3, SIZE, SIZE))
        # The guide runs a frozen body in inference mode.
        states = body(inputs, training=asked.what == "all")
        model = keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Dropout(0.2)(states)))
        model.compile(
            keras.optimizers.Adam(1e-3 if asked.what == "frozen" else 1e-5),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        clock = Seconds()
        start = time.perf_counter()
        model.fit(train, epochs=5 if asked.what == "frozen" else 1, verbose=0, callbacks=[clock])
        accuracy = float(model.evaluate(test, verbose=0)[1])
    print(
        json.dumps(
            {
                "accuracy": accuracy,
                "seconds": time.perf_counter() - start,
                "epochs": clock.epochs,
                "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            }
        )
    )


if __name__ == "__main__":
    main()
