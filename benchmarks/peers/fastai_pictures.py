"""fastai on the same digits, weights and size: one setting per process; prints JSON.

    python fastai_pictures.py FOLDER WEIGHTS WHAT [--channels-last]

FOLDER has train/ and test/ by class; WEIGHTS is a safetensors file of the backbone. WHAT is `frozen` (five epochs of a
frozen body), `last` (epochs with the last blocks and the head trained), `all` (an epoch of everything) or `target`
(head first, then everything, one-cycle 2e-3, until the test accuracy reaches .98).
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

from headstart.models.torchvision_import import prepare_torchvision

prepare_torchvision()

import timm  # noqa: E402
import torch  # noqa: E402
from fastai.vision.all import (  # noqa: E402
    Callback,
    CrossEntropyLossFlat,
    ImageDataLoaders,
    Learner,
    Normalize,
    Resize,
    TimmBody,
    accuracy,
    add_head,
    params,
)
from safetensors.torch import load_file  # noqa: E402

SIZE, BATCH, TARGET = 96, 64, 0.98


class Clock(Callback):
    """Seconds of every epoch, training only and with validation."""

    def before_train(self):
        self.began = time.perf_counter()

    def after_train(self):
        self.learn.train_seconds.append(time.perf_counter() - self.began)


def learner(folder: str, weights: str, channels_last: bool, last: bool) -> Learner:
    net = timm.create_model("efficientnet_lite0", pretrained=False, num_classes=0, global_pool="")
    net.load_state_dict(load_file(weights), strict=False)
    mean, std = net.default_cfg["mean"], net.default_cfg["std"]
    dls = ImageDataLoaders.from_folder(
        folder, train="train", valid="test", bs=BATCH, item_tfms=Resize(SIZE),
        batch_tfms=[Normalize.from_stats(mean, std, cuda=False)], device=torch.device("cpu"),
    )  # fmt: skip
    model = add_head(TimmBody(net), 1280, len(dls.vocab))
    body = model[0].model

    def split(m):
        late = [body.blocks[6], body.conv_head, body.bn2]
        ids = {id(p) for part in late for p in part.parameters()}
        early = [p for p in body.parameters() if id(p) not in ids]
        groups = [early, [p for part in late for p in part.parameters()], params(m[1])]
        return groups if last else [[*groups[0], *groups[1]], groups[2]]

    made = Learner(
        dls, model, loss_func=CrossEntropyLossFlat(), metrics=accuracy, splitter=split, model_dir="/tmp", cbs=Clock()
    )
    made.train_seconds = []
    return made.to_channelslast() if channels_last else made


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("weights")
    parser.add_argument("what", choices=["frozen", "last", "all", "target"])
    parser.add_argument("--channels-last", action="store_true")
    asked = parser.parse_args()
    learn = learner(asked.folder, asked.weights, asked.channels_last, asked.what == "last")
    reached: list[float] = []
    start = time.perf_counter()
    with learn.no_bar(), learn.no_logging():
        if asked.what == "frozen":
            learn.freeze()
            learn.fit_one_cycle(5)
        elif asked.what == "last":
            learn.freeze_to(1)
            learn.fit_one_cycle(2)
        elif asked.what == "all":
            learn.unfreeze()
            learn.fit_one_cycle(1)
        else:
            learn.freeze()
            learn.fit_one_cycle(1, 2e-3)
            learn.unfreeze()
            learn.fit_one_cycle(3, 2e-3, cbs=UntilTarget(reached, start))
    seconds = time.perf_counter() - start
    value = float(learn.recorder.values[-1][-1])
    print(
        json.dumps(
            {
                "accuracy": value,
                "seconds": reached[0] if reached else seconds,
                "epochs": learn.train_seconds,
                "reached": bool(reached),
                "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
                "threads": torch.get_num_threads(),
                "folder": Path(asked.folder).name,
            }
        )
    )


class UntilTarget(Callback):
    """Notes the time at which the validation accuracy first reaches the target."""

    order = 60  # after the recorder, which holds the epoch's values

    def __init__(self, reached: list[float], start: float) -> None:
        self.reached, self.start = reached, start

    def after_epoch(self):
        if self.recorder.values and self.recorder.values[-1][-1] >= TARGET and not self.reached:
            self.reached.append(time.perf_counter() - self.start)


if __name__ == "__main__":
    main()
