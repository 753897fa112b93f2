"""Engines give PyTorch's float32 features; the choice among them is by measurement, and falls back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from headstart.core.errors import ConfigError
from headstart.core.registry import names
from headstart.data import load_data
from headstart.data.dataset import Dataset
from headstart.features.engines import Candidate, Engine, EngineError, Engines, OnnxRuntime, OpenVino, Torch
from headstart.features.engines.choose import LEAST_COSINE, least_cosine
from headstart.features.engines.openvino import rows_at_once
from headstart.features.extract import extract
from headstart.models import TracedBackbone, Wanted, open_vision, parse_reference
from headstart.models.backbone import State
from headstart.models.opening import open_model
from headstart.train.precision import autocast
from headstart.train.reader import Reader

N = 11
PLACES = [("layer2", 2), ("layer4", 1)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def data() -> Dataset:
    pictures = np.random.default_rng(0).integers(0, 256, (N, 20, 24, 3), dtype=np.uint8)
    return load_data((pictures, np.arange(N) % 3))


def opened(name: str = "test_resnet", size: int = 64) -> TracedBackbone:
    return open_vision(parse_reference(f"scratch:timm:{name}"), Wanted(size=size)).eval()


def batch(backbone: TracedBackbone, data: Dataset, index: Sequence[int]) -> State:
    return Reader({"a": data}, backbone, 0).batch("a", index, ("plain",), labels=False).views["plain"]


# -- engines ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [OpenVino, OnnxRuntime])
@pytest.mark.parametrize(("name", "size"), [("test_resnet", 64), ("test_vit", 64), ("test_efficientnet", 64)])
def test_pictures_equal_pytorch(kind: type[Engine], name: str, size: int, data: Dataset) -> None:
    backbone = opened(name, size)
    stages = list(backbone.stages)
    places = [(stages[1], 2), (stages[-1], 1)]
    example, other = batch(backbone, data, range(6)), batch(backbone, data, [8, 9, 10])
    engine, plain = kind(backbone, places, example), Torch(backbone, places, example)
    for inputs in (example, other):  # other: a batch of another size
        made, truth = engine.run(inputs), plain.run(inputs)
        assert list(made) == places
        for place in places:
            assert torch.allclose(made[place], truth[place], rtol=1e-3, atol=1e-4 * float(truth[place].abs().max()))


@pytest.mark.parametrize("kind", [OpenVino, OnnxRuntime])
def test_texts_of_any_length_equal_pytorch(kind: type[Engine]) -> None:
    backbone = open_model("sample:all-minilm-l6-v2", Wanted(size=32, channels=3, modality="text")).eval()
    places = [(list(backbone.stages)[2], 1), (list(backbone.stages)[-1], 1)]
    r = torch.Generator().manual_seed(0)
    example = {"ids": torch.randint(1000, 9000, (4, 24), generator=r), "mask": torch.ones(4, 24, dtype=torch.bool)}
    example["mask"][1, 10:] = False
    # Seven windows of two texts, shorter: rows are joined after the engine has run.
    windows = {"ids": torch.randint(1000, 9000, (7, 16), generator=r), "mask": torch.ones(7, 16, dtype=torch.bool)}
    windows["rows"] = torch.tensor([0, 0, 0, 1, 1, 1, 1])
    engine, plain = kind(backbone, places, example), Torch(backbone, places, example)
    for inputs, rows in ((example, 4), (windows, 2)):
        made, truth = engine.run(inputs), plain.run(inputs)
        for place in places:
            assert made[place].shape == truth[place].shape == (rows, 384)
            assert torch.allclose(made[place], truth[place], atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pytorch_folds_norms_in_float32_alone(dtype: torch.dtype, data: Dataset) -> None:
    backbone = opened("test_resnet")
    inputs = batch(backbone, data, range(6))
    place = (list(backbone.stages)[-1], 1)
    with torch.inference_mode(), autocast(dtype, torch.device("cpu")):
        plain = backbone.pool(backbone.run(backbone.begin(inputs)), 1).float()
    engine = Torch(backbone, [place], inputs, dtype)
    assert bool(engine._norms.pairs) == (dtype == torch.float32)
    made = engine.run(inputs)[place]
    if dtype == torch.float32:
        torch.testing.assert_close(made, plain, rtol=1e-5, atol=1e-5 * float(plain.abs().max()))
    else:
        assert torch.equal(made, plain)


def test_formats_of_a_processor() -> None:
    cpu = torch.device("cpu")
    assert Torch.formats(cpu)[0] == torch.float32
    assert torch.float32 in OpenVino.formats(cpu)
    assert OpenVino.formats(torch.device("cuda")) == ()
    keys = {kind.key(f, cpu) for kind in (Torch, OpenVino, OnnxRuntime) for f in (torch.float32, torch.bfloat16)}
    assert len(keys) == 6


# -- choosing --------------------------------------------------------------------------------------------------------


class Pretended(Engine):
    """An engine whose features are PyTorch's, changed, at a speed of one's choice."""

    name, pays_from = "openvino", 0.0
    change, error = 0.0, ""

    def prepare(self, state: State) -> None:
        if self.error:
            raise EngineError(self.error)

    @classmethod
    def formats(cls, device: torch.device) -> tuple[torch.dtype, ...]:
        return (torch.float32,)

    @classmethod
    def key(cls, dtype: torch.dtype, device: torch.device) -> str:
        return "pretended"

    def compute(self, state: State) -> Sequence[Tensor]:
        made = self.prefix(*state.values())
        return [x + self.change * x.flip(1) for x in made]


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> type[Pretended]:
    """Stands in the place of OpenVINO; runs are timed as `seconds` says."""

    class Own(Pretended):
        seconds = {"torch": 1.0, "openvino": 0.5}  # noqa: RUF012

    from headstart.features.engines import choose

    real = Engines._time

    def timed(self: Engines, candidate: Candidate, *rest: object) -> tuple[dict[tuple[str, int], Tensor], float]:
        made, _ = real(self, candidate, *rest)  # type: ignore[arg-type]
        return made, Own.seconds[candidate.name]

    monkeypatch.setattr(Engines, "_time", timed)
    monkeypatch.setattr(choose, "is_installed", lambda name: name in ("torch", "openvino"))
    monkeypatch.setattr(Candidate, "kind", property(lambda c: Torch if c.name == "torch" else Own))
    monkeypatch.setattr(Torch, "formats", classmethod(lambda cls, device: (torch.float32,)))
    return Own


def chosen(data: Dataset, engines: Engines, count: int = 1000) -> Candidate:
    backbone = opened()
    return engines.choose(
        backbone, PLACES, lambda: (batch(backbone, data, range(4)), torch.tensor([0, 1, 2, 0])), count, "weights"
    )


def test_the_fastest_that_agrees_is_taken(data: Dataset, pretended: type[Pretended]) -> None:
    engines = Engines("auto")
    assert chosen(data, engines).name == "openvino"
    assert "openvino in float32" in engines.notes[0]
    assert "2" in engines.notes[0]


def test_a_slower_one_is_not(data: Dataset, pretended: type[Pretended]) -> None:
    pretended.seconds = {"torch": 1.0, "openvino": 1.5}  # type: ignore[attr-defined]
    assert chosen(data, Engines("auto")).name == "torch"


@pytest.mark.parametrize(("seconds", "taken"), [(0.95, torch.float32), (0.85, torch.bfloat16)])
def test_a_shorter_format_must_be_clearly_faster(
    seconds: float, taken: torch.dtype, data: Dataset, pretended: type[Pretended], monkeypatch: pytest.MonkeyPatch
) -> None:
    both = torch.float32, torch.bfloat16
    monkeypatch.setattr(Torch, "formats", classmethod(lambda cls, device: both))
    real = Engines._time

    def timed(self: Engines, candidate: Candidate, *rest: object) -> tuple[dict[tuple[str, int], Tensor], float]:
        made, usual = real(self, candidate, *rest)  # type: ignore[arg-type]
        return made, seconds if candidate.dtype == torch.bfloat16 else usual

    monkeypatch.setattr(Engines, "_time", timed)
    pretended.seconds = {"torch": 1.0, "openvino": 2.0}  # type: ignore[attr-defined]
    engines = Engines("auto")
    assert chosen(data, engines) == Candidate("torch", taken)
    assert "not used" not in engines.notes[0]


def test_one_that_disagrees_is_not_and_it_says_so(data: Dataset, pretended: type[Pretended]) -> None:
    pretended.change = 0.2
    engines = Engines("auto")
    assert chosen(data, engines).name == "torch"
    assert "not used" in engines.notes[0]


def test_one_that_cannot_be_made_is_reported(data: Dataset, pretended: type[Pretended]) -> None:
    pretended.error = "no such layer"
    engines = Engines("auto")
    assert chosen(data, engines).name == "torch"
    assert "no such layer" in engines.notes[0]


def test_little_work_does_not_pay_for_trying(data: Dataset, pretended: type[Pretended]) -> None:
    pretended.pays_from = 100.0
    assert chosen(data, Engines("auto"), count=8).name == "torch"
    engines = Engines("auto")
    assert chosen(data, engines, count=8).name == "torch"
    assert chosen(data, engines, count=8000).name == "openvino"  # much more work: measured anew


def test_a_choice_is_remembered(data: Dataset, pretended: type[Pretended], tmp_path: Path) -> None:
    first = Engines("auto", remembered=tmp_path / "e")
    chosen(data, first)
    pretended.seconds = {"torch": 1.0, "openvino": 9.0}  # type: ignore[attr-defined]
    again = Engines("auto", remembered=tmp_path / "e")
    assert chosen(data, again).name == "openvino"
    assert again.notes == first.notes
    kept = next((tmp_path / "e").glob("*.json"))
    kept.write_text(json.dumps({"name": "openvino"}))  # damaged: measured anew
    assert chosen(data, Engines("auto", remembered=tmp_path / "e")).name == "torch"


def test_a_number_format_that_loses_too_much_once_is_not_tried_again(
    data: Dataset, pretended: type[Pretended], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []
    both = classmethod(lambda cls, device: (torch.bfloat16, torch.float32))
    monkeypatch.setattr(pretended, "formats", both)
    pretended.change = 0.2

    def prepare(self: Pretended, state: State) -> None:
        tried.append(self.dtype)

    monkeypatch.setattr(pretended, "prepare", prepare)
    engines = Engines("auto")
    chosen(data, engines, count=1000)
    assert torch.bfloat16 in tried
    tried.clear()
    engines._made.clear()
    chosen(data, engines, count=10**6)  # much more work: measured anew
    assert tried == [torch.float32]


def test_a_converted_network_serves_fewer_places_too(data: Dataset, pretended: type[Pretended]) -> None:
    backbone = opened()
    engines, example = Engines("openvino"), batch(backbone, data, range(4))
    candidate = Candidate("openvino", torch.float32)
    whole = engines.make(candidate, backbone, PLACES, example, "weights")
    assert engines.make(candidate, backbone, PLACES[:1], example, "weights") is whole
    assert engines.make(candidate, backbone, PLACES, example, "other weights") is not whole
    few = Engines("openvino")
    one = few.make(candidate, backbone, PLACES[:1], example, "weights")
    assert few.make(candidate, backbone, PLACES, example, "weights") is not one


def test_openvino_runs_a_batch_in_streams_and_joins_them_in_order(data: Dataset) -> None:
    backbone = opened()
    example = batch(backbone, data, [i % len(data) for i in range(4)])
    engine, plain = OpenVino(backbone, PLACES, example), Torch(backbone, PLACES, example)
    for count in (1, 3, 17, 40):
        inputs = batch(backbone, data, [i % len(data) for i in range(count)])
        made, truth = engine.run(inputs), plain.run(inputs)
        for place in PLACES:
            assert made[place].shape == truth[place].shape
            assert torch.allclose(made[place], truth[place], rtol=1e-3, atol=1e-4 * float(truth[place].abs().max()))


def test_openvino_computes_fewer_large_pictures_at_once_and_any_number_of_texts() -> None:
    def at_once(size: int, dtype: torch.dtype = torch.float32) -> int:
        return rows_at_once({"x": torch.zeros(2, 3, size, size)}, dtype)

    assert [at_once(size) for size in (32, 64, 96, 160, 224, 1000)] == [32, 16, 8, 4, 2, 1]
    assert at_once(96, torch.bfloat16) == 2 * at_once(96)
    assert rows_at_once({"ids": torch.zeros(2, 9), "mask": torch.ones(2, 9)}, torch.float32) == 0
    assert rows_at_once({"x": torch.zeros(2, 3, 50)}, torch.float32) == 0


def test_real_engines_are_chosen_among(data: Dataset) -> None:
    backbone = opened()
    engines = Engines("auto")
    reader = Reader({"a": data}, backbone, 0)
    made = extract(backbone, reader, "a", PLACES, engines=engines, count=10**7)
    truth = extract(backbone, reader, "a", PLACES)
    assert len(engines.notes) == 1
    assert all(name in engines.notes[0] for name in ("torch", "openvino", "onnxruntime"))
    assert min(least_cosine(truth[p], made[p]) for p in PLACES) >= LEAST_COSINE


def test_an_engine_by_name(data: Dataset) -> None:
    backbone = opened()
    engines = Engines("openvino", torch.float32)
    reader = Reader({"a": data}, backbone, 0)
    truth = extract(backbone, reader, "a", PLACES)
    made = extract(backbone, reader, "a", PLACES, engines=engines)
    again = extract(backbone, reader, "a", PLACES, engines=engines)
    for place in PLACES:
        assert torch.allclose(made[place], truth[place], rtol=1e-3, atol=1e-4)
        assert torch.equal(made[place], again[place])


def test_a_converted_network_is_used_again(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    converted: list[int] = []
    prepare = OpenVino.prepare

    def counted(self: OpenVino, state: State) -> None:
        converted.append(1)
        prepare(self, state)

    monkeypatch.setattr(OpenVino, "prepare", counted)
    monkeypatch.setenv("HEADSTART_CACHE_LIMIT", "0")
    engines = Engines("openvino", torch.float32)
    parts = {"a": data, "b": data.subset(range(5))}
    for _ in range(2):
        backbone = opened()  # another object with the same weights
        for part in parts:
            extract(backbone, Reader(parts, backbone, 0), part, PLACES, engines=engines)
    assert len(converted) == 1
    extract(opened(size=32), Reader(parts, opened(size=32), 0), "a", PLACES, engines=engines)
    assert len(converted) == 2


def test_a_failing_engine_falls_back(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: OpenVino, state: State) -> None:
        raise EngineError("an operator is not known")

    monkeypatch.setattr(OpenVino, "prepare", fails)
    backbone = opened()
    engines = Engines("openvino", torch.float32)
    reader = Reader({"a": data}, backbone, 0)
    made = extract(backbone, reader, "a", PLACES, engines=engines)
    truth = extract(backbone, reader, "a", PLACES)
    assert all(torch.equal(made[p], truth[p]) for p in PLACES)
    assert "an operator is not known" in engines.notes[0]


def test_recurrent_networks_stay_with_pytorch() -> None:
    series = [np.random.default_rng(i).normal(size=(6 + i, 2)).astype(np.float32) for i in range(8)]
    data = load_data((series, [0, 1] * 4), modality="sequence")
    wanted = Wanted(size=0, channels=2, modality="sequence", mean=(0.0, 0.0), std=(1.0, 1.0), arch="width=4,layers=1")
    backbone = open_model("scratch:gru", wanted).eval()
    engines = Engines("openvino")
    extract(backbone, Reader({"a": data}, backbone, 0), "a", engines=engines)
    assert "recurrent" in engines.notes[0]


def test_unknown_engines_are_refused() -> None:
    with pytest.raises(ConfigError, match="openvin"):
        Engines("openvin")
    assert {"torch", "openvino", "onnxruntime", "torch-compile"} <= set(names("engine"))


def test_an_engine_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from headstart.features.engines import choose

    monkeypatch.setattr(choose, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="not installed"):
        Engines("openvino")
    assert Engines("auto")._candidates(opened(), torch.device("cpu"))[0].name == "torch"


# -- memory ----------------------------------------------------------------------------------------------------------


def test_batches_shrink_where_memory_does_not_suffice(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = opened()
    reader = Reader({"a": data}, backbone, 0)
    truth = extract(backbone, reader, "a", PLACES)
    sizes: list[int] = []
    run = Torch.run

    def limited(self: Torch, inputs: State) -> dict[tuple[str, int], Tensor]:
        sizes.append(len(inputs["x"]))
        if len(inputs["x"]) > 3:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        return run(self, inputs)

    monkeypatch.setattr(Torch, "run", limited)
    monkeypatch.setenv("HEADSTART_CACHE_LIMIT", "0")
    made = extract(backbone, reader, "a", PLACES)
    assert sizes[0] == N
    assert all(torch.allclose(made[p], truth[p], atol=1e-5) for p in PLACES)
