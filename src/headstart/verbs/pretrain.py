"""`pretrain`: from unlabelled texts or series to a network that a fit can start from (`run:FOLDER`).

1. read the data, labels unread; of data with parts only the training part;
2. open the network, with the words of these texts where it has none of its own;
3. train on what needs no labels (`headstart methods --kind pretraining`), judged on a held-out end;
4. write the bundle and the report.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headstart.core.memory import peak_memory_mb
from headstart.core.progress import progress
from headstart.core.registry import get
from headstart.core.seeding import derive
from headstart.core.words import counted
from headstart.data.series import channel_statistics
from headstart.finetune.strategies import rates
from headstart.models.backbone import Backbone, Provenance
from headstart.models.bundle import Bundle, save_bundle
from headstart.models.model import Model
from headstart.models.opening import open_model
from headstart.models.reference import parse_reference
from headstart.models.wanted import Text, Wanted
from headstart.pretrain import pretraining_objective, unlabelled
from headstart.pretrain.choice import Pretraining
from headstart.pretrain.corpus import Chunks
from headstart.store.runfolder import JsonLines, RunFolder
from headstart.train.inference import evaluating
from headstart.train.loop import Score, Settings, Trainer, Work
from headstart.train.phase import Phase
from headstart.train.precision import autocast, choose_precision, format_name
from headstart.train.reader import Reader
from headstart.train.trial import faster_precision
from headstart.verbs.job import choose_device, settled_precision
from headstart.verbs.options import PretrainOptions, make_pretrain_options
from headstart.verbs.pretrain_data import keep_data, read_corpus
from headstart.verbs.report import report
from headstart.verbs.run import Run
from headstart.verbs.running import absolute, interruptible, tidy
from headstart.verbs.writing import versions

HELD_OUT = 0.05
"""Share of the data that is judged on and not learned from."""

_LEAST_HELD = 20


def pretrain(data: Any, *, model: str, **options: Any) -> Run:
    """Train a network on data without labels.

    Parameters
    ----------
    data
        Texts or series: whatever `headstart.data.load_inputs` takes. Of data with parts the training part is used.
    model
        A model reference: `scratch:awd-lstm` learns from nothing, `sample:all-minilm-l6-v2` goes on from where it is.
    **options
        Fields of `PretrainOptions`: `epochs`, `lr`, `max_length`, `seed`, `out` ...

    Returns
    -------
    Run
        Its folder is a model reference: `fit(data, model="run:FOLDER")`.

    Raises
    ------
    HeadstartError
        Anything that is wrong with data, model or options: nothing half-written stays behind.
    KeyboardInterrupt
        After Ctrl-C; `resume` continues.
    """
    checked = make_pretrain_options({**options, "model": model})
    parse_reference(checked.model)
    name = data if isinstance(data, (str, Path)) else getattr(data, "name", "pretrained")
    there = [p for p in (checked.out or Path("runs"), *(checked.out or Path("runs")).parents) if p.exists()]
    stem = Path(str(name).rpartition(":")[2]).stem or "run"
    folder = RunFolder.create(checked.out, f"pretrain-{stem}")
    source = absolute(data) if isinstance(data, (str, Path)) else None
    with tidy(folder, there), interruptible(folder):
        work = _Pretraining(folder, checked, data)
        folder.write_config({"verb": "pretrain", "data": source, **checked.model_dump(mode="json", exclude={"out"})})
        keep_data(folder, work.data)
        return work.run()


def resume_pretraining(folder: RunFolder, config: dict[str, Any], data: Any) -> Run:
    """Continue where an interrupted `pretrain` stood."""
    options = make_pretrain_options({**config, "out": folder.path})
    with folder.locked(), interruptible(folder):
        work = _Pretraining(folder, options, data)
        keep_data(folder, work.data)
        return work.run()


class _Pretraining:
    """One pretraining: everything is a function of data and options, so that a resumed one builds the same."""

    def __init__(self, folder: RunFolder, options: PretrainOptions, data: Any) -> None:
        self.folder, self.options = folder, options
        self.modality, self.data = read_corpus(options, data)
        self.device = choose_device(options.device)
        self.dtype = choose_precision(options.precision, self.device)
        self.backbone = open_model(options.model, self._wanted()).to(self.device)
        self.objective: Pretraining = pretraining_objective(self.backbone)

    def run(self) -> Run:
        start, options = time.monotonic(), self.options
        train, held = self._parts()
        reader = Reader({"corpus": train} | ({"held": held} if held is not None else {}), self.backbone, options.seed)
        model = Model(self.backbone, {})
        phases = self._phases(len(train))
        self._settle_precision(model, reader, phases[-1])
        settings = Settings(
            seed=options.seed,
            device=self.device,
            dtype=self.dtype,
            checkpoint=self.folder.checkpoint("pretraining"),
            name=self.objective.name,
            labels={"stage": self.objective.name, "fold": None},
        )
        judge = None if held is None else self._judge(reader)
        progress().say(f"{self.objective.name} on {len(self.data):,} {self.data.content.source.many}.")
        trainer = Trainer(
            model, reader, [Work(p, [self.objective]) for p in phases], settings, judge, JsonLines(self.folder.metrics)
        )
        history = trainer.run()
        self._describe(phases)
        schema = self.data.schema
        about = {"run": self.folder.path.name, "pretraining": self.objective.name, "versions": versions()}
        save_bundle(self.folder.bundle, Bundle(model.eval(), (), {}, about, schema.inputs, schema.reading))
        self.folder.write_report(self._report(history.epochs, len(train), phases, time.monotonic() - start))
        report(self.folder.path)
        self.folder.clear_checkpoints()
        return Run(self.folder.path)

    def _settle_precision(self, model: Model, reader: Reader, phase: Phase) -> None:
        """Measure in which number format this machine trains faster."""
        settings = Settings(seed=self.options.seed, device=self.device, dtype=self.dtype)
        self.dtype, why = settled_precision(
            self.folder, "precision", self.options.precision, self.dtype,
            lambda: faster_precision(model, reader, Work(phase, [self.objective]), settings),
        )  # fmt: skip
        if why:
            progress().say(why)

    # -- data and network ------------------------------------------------------------------------------------------

    def _wanted(self) -> Wanted:
        options = self.options
        series = self.modality == "sequence"
        mean, std = channel_statistics(self.data) if series else ((), ())
        return Wanted(
            size=options.max_length,
            channels=self.data.schema.channels or 3,
            seed=options.seed,
            arch=options.arch,
            modality=self.modality,
            pooling=options.pooling,
            mean=mean,
            std=std,
            corpus=None if series else self._texts,
            vocabulary=options.vocabulary,
        )

    def _texts(self) -> Iterator[Text]:
        return (self.data.read(i).inputs for i in range(len(self.data)))

    def _parts(self) -> tuple[Any, Any]:
        """What is learned from, and what is judged on (None where there is too little)."""
        data = unlabelled(self.backbone, self.data, self.folder.checkpoints, self.data.fingerprint())
        if isinstance(data, Chunks):
            return data.split(HELD_OUT)
        if len(data) < _LEAST_HELD:
            return data, None
        order = np.random.default_rng(derive(self.options.seed, "held-out")).permutation(len(data))
        count = max(2, round(len(data) * HELD_OUT))
        return data.subset(np.sort(order[count:])), data.subset(np.sort(order[:count]))

    def _phases(self, samples: int) -> list[Phase]:
        """One phase; before it, where a trained network gets a new decoder, one in which only that learns."""
        given = self.options
        advice = get("pretraining", self.objective.name).defaults_for(self.backbone.family)
        lr = given.lr or (advice["lr"] if self._random else advice["lr_further"])
        size = given.batch_size or advice["batch_size"]
        epochs = given.epochs or max(1, min(advice["most_epochs"], round(advice["steps"] * size / samples)))
        stages = [name for name in self.backbone.stages if name != "pooling"]
        decay = 1.0 if self._random else (given.layer_decay or 1.0)
        all_rates = rates(stages, lr, decay, lr)
        del all_rates["head"]
        common: dict[str, Any] = {
            "batch_size": size,
            "schedule": given.schedule or "cosine",
            "warmup": given.warmup if given.warmup is not None else 0.1,
            "weight_decay": given.weight_decay if given.weight_decay is not None else 0.01,
            "clip": given.clip or advice["clip"],
            "objective": "pretraining",
        }
        phases = [Phase("all", {**all_rates, "*": lr}, epochs, **common)]
        if not self._random and self.objective.name == "masked-language-model":
            phases.insert(0, Phase("decoder", {"*": 1e-3}, 1, **common, validate_every=None, keep="last"))
        return phases

    @property
    def _random(self) -> bool:
        return self.options.model.startswith("scratch:")

    def _judge(self, reader: Reader) -> Any:
        objective, dtype, device = self.objective, self.dtype, self.device

        def judge(model: Model, phase: int = 0, epoch: int = 0, kind: str = "raw") -> Score:
            total, count = 0.0, 0
            with evaluating(model), autocast(dtype, device):
                for batch in reader.sweep("held", model.backbone.batch_size(), labels=False):
                    loss, n = objective.judge(model, batch.to(device))
                    total, count = total + loss, count + n
            mean = total / max(1, count)
            return Score(-mean, mean, objective.shown(mean))

        return judge

    # -- what is written -------------------------------------------------------------------------------------------

    def _describe(self, phases: list[Phase]) -> None:
        """The network's provenance says what was done to it."""
        backbone: Backbone = self.backbone
        p = backbone.provenance
        note = (
            f"Pretrained by {self.objective.name} on {self.data.name} ({len(self.data):,} "
            f"{self.data.content.source.many}, no labels) for {counted(phases[-1].epochs, 'epoch')}, "
            f"starting from {p.reference}."
        )
        notes = tuple(n for n in p.notes if not n.startswith("The weights are random"))
        backbone.provenance = Provenance(
            p.reference, p.architecture, p.library, f"pretrained here on {self.data.name}", p.licence, "", p.arguments,
            (*notes, note),
        )  # fmt: skip

    def _report(
        self, epochs: list[dict[str, Any]], samples: int, phases: list[Phase], seconds: float
    ) -> dict[str, Any]:
        backbone, data, objective = self.backbone, self.data, self.objective
        judged = [e["validation_metric"] for e in epochs if e.get("validation_metric") is not None]
        peak = peak_memory_mb()
        carried = getattr(backbone, "carried", None)
        total = sum(p.numel() for p in backbone.parameters())
        pieces = counted(samples, "piece") + " of text" if self.modality == "text" else f"{samples:,} series"
        return {
            "schema": 1,
            "kind": "pretraining",
            "name": self.folder.path.name,
            "status": "finished",
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "metric": objective.metric,
            "data": {
                "name": data.name,
                "modality": self.modality,
                "samples": len(data),
                "parts": {"train": len(data)},
                "channels": data.schema.channels,
                "fingerprint": data.fingerprint(),
                "notes": data.notes.as_json(),
            },
            "model": {
                "reference": self.options.model,
                "architecture": backbone.provenance.architecture,
                "family": backbone.family,
                "source": backbone.provenance.source,
                "licence": backbone.provenance.licence,
                "max_length": backbone.input_spec.size or None,
                "vocabulary": None if carried is None else {"shared": carried.shared, "total": carried.total},
                "tokens": backbone.tokenizer.size if self.modality == "text" else None,
                "notes": [{"level": "info", "topic": "model", "text": text} for text in backbone.provenance.notes],
            },
            "pretraining": {
                "objective": objective.name,
                "trained_on": pieces,
                "first": judged[0] if judged else None,
                "best": (min(judged) if judged else None),
                "epochs": phases[-1].epochs,
            },
            "strategy": {"name": objective.name, "phases": [p.as_json() for p in phases]},
            "cost": {
                "seconds": round(max(seconds, epochs[-1]["seconds"] if epochs else 0.0), 2),
                "parts": {"training": round(epochs[-1]["seconds"], 2)} if epochs else {},
                "peak_memory_mb": round(peak),
                "parameters": {"total": total, "trained": total},
                "device": str(self.device),
                "precision": format_name(self.dtype),
                "threads": torch.get_num_threads(),
            },
            "seeds": [self.options.seed],
            "options": self.options.model_dump(mode="json", exclude={"out"}),
            "versions": versions(),
            "notes": [],
        }
