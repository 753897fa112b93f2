"""Encoders of transformers as backbones: stages, cuts, padding, windows, bundles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.models.tiny_texts import FAMILIES, SENTENCES, save_family

from headstart.core.errors import ModelError
from headstart.data.schema import Sample, Task
from headstart.models.bundle import Bundle, load_bundle, save_bundle
from headstart.models.model import Head, Model
from headstart.models.opening import open_model
from headstart.models.text import TextBackbone
from headstart.models.torchvision_import import prepare_torchvision
from headstart.models.wanted import Wanted

prepare_torchvision()


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("families")
    return {family: save_family(family, root / family) for family in FAMILIES}


def opened(folder: Path, **wanted: object) -> TextBackbone:
    backbone = open_model(f"hf:{folder}", Wanted(modality="text", **{"size": 24, **wanted}))  # type: ignore[arg-type]
    assert isinstance(backbone, TextBackbone)
    return backbone.eval()


def batch_of(backbone: TextBackbone, texts: object) -> dict[str, torch.Tensor]:
    samples = [backbone.settle(Sample(str(i), t)) for i, t in enumerate(texts)]  # type: ignore[arg-type, var-annotated]
    return backbone.begin(backbone.collate([backbone.preprocess(s, "plain", 0) for s in samples]))


@torch.no_grad()
def features(backbone: TextBackbone, texts: object) -> torch.Tensor:
    return backbone.pool(backbone.run(batch_of(backbone, texts)))


@pytest.mark.parametrize("family", FAMILIES)
class TestFamilies:
    def test_stages_hold_every_tensor_once(self, family: str, folders: dict[str, Path]) -> None:
        backbone = opened(folders[family])
        blocks = 1 if family == "albert" else 3
        assert next(iter(backbone.stages)) == "embeddings"
        assert len(backbone.stages) == 1 + blocks
        owned = [id(p) for parameters in backbone.stage_parameters().values() for p in parameters]
        assert sorted(owned) == sorted(id(p) for p in backbone.net.parameters())
        word = backbone.token_embedding().weight
        assert any(p is word for p in backbone.stage_parameters()["embeddings"])

    @torch.no_grad()
    def test_every_stage_can_be_resumed_from(self, family: str, folders: dict[str, Path]) -> None:
        backbone = opened(folders[family])
        assert backbone.cuts == tuple(backbone.stages)
        batch = batch_of(backbone, SENTENCES)
        states = dict(backbone.walk(batch))
        whole = backbone.pool(states[backbone.cuts[-1]])
        for cut in backbone.cuts:
            torch.testing.assert_close(backbone.pool(backbone.run(states[cut], after=cut)), whole, atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(backbone.run(batch, upto=cut)["x"], states[cut]["x"], atol=1e-6, rtol=1e-5)

    @torch.no_grad()
    def test_is_the_native_network(self, family: str, folders: dict[str, Path]) -> None:
        from transformers import AutoModel

        backbone = opened(folders[family])
        batch = batch_of(backbone, SENTENCES)
        net = AutoModel.from_pretrained(folders[family]).eval()
        hidden = net(input_ids=batch["ids"], attention_mask=batch["mask"].long()).last_hidden_state
        weight = batch["mask"].float()[..., None]
        expected = (hidden * weight).sum(1) / weight.sum(1)
        torch.testing.assert_close(backbone.pool(backbone.run(batch)), expected, atol=1e-5, rtol=1e-4)

    def test_padding_changes_nothing(self, family: str, folders: dict[str, Path]) -> None:
        backbone = opened(folders[family])
        texts = ["the cat", " ".join(SENTENCES[:2])]
        together = features(backbone, texts)
        for i, text in enumerate(texts):
            torch.testing.assert_close(together[i : i + 1], features(backbone, [text]), atol=1e-5, rtol=1e-4)

    def test_gradients_reach_every_stage_after_a_cut(self, family: str, folders: dict[str, Path]) -> None:
        backbone = opened(folders[family]).train()
        for parameter in backbone.stage_parameters()["embeddings"]:
            parameter.requires_grad_(False)
        state = backbone.run(batch_of(backbone, SENTENCES), upto="embeddings")
        assert not state["x"].requires_grad
        backbone.pool(backbone.run(state, after="embeddings")).square().sum().backward()
        for name, parameters in backbone.stage_parameters().items():
            assert all((p.grad is None) == (name == "embeddings") for p in parameters), name

    @pytest.mark.parametrize("place", [0, 1])
    def test_cut_off_bundles_come_back(self, family: str, place: int, folders: dict[str, Path], tmp_path: Path) -> None:
        backbone = opened(folders[family])
        stage = list(backbone.stages)[place]
        batch = batch_of(backbone, SENTENCES)
        with torch.no_grad():
            expected = backbone.pool(backbone.run(batch, upto=stage))
        backbone.end_at(stage)
        assert list(backbone.stages)[-1] == stage
        torch.testing.assert_close(features(backbone, SENTENCES), expected, atol=1e-6, rtol=1e-5)
        owned = {id(p) for parameters in backbone.stage_parameters().values() for p in parameters}
        assert owned == {id(p) for p in backbone.parameters()}
        model = Model(backbone, {"y": Head(expected.shape[1], 2)})
        save_bundle(tmp_path / "b", Bundle(model, (Task("y", "single-label", ("a", "b")),), columns=("text",)))
        again = load_bundle(tmp_path / "b")
        assert again.columns == ("text",)
        found = again.model.backbone
        assert isinstance(found, TextBackbone)
        torch.testing.assert_close(features(found, SENTENCES), expected, atol=1e-6, rtol=1e-5)


class TestInputs:
    def test_truncation_keeps_the_special_tokens(self, folders: dict[str, Path]) -> None:
        backbone = opened(folders["bert"], size=8)
        sample = backbone.settle(Sample("0", " ".join(SENTENCES)))
        assert sample.inputs.shape == (1, 8)
        assert (sample.inputs[0, 0], sample.inputs[0, -1]) == (2, 3)
        assert len(backbone.tokenizer.encode(" ".join(SENTENCES))) > 40

    def test_windows_are_averaged(self, folders: dict[str, Path]) -> None:
        text = " ".join(SENTENCES)
        whole, parts = opened(folders["bert"], size=10), opened(folders["bert"], size=10, long="windows")
        assert parts.cuts == ()
        inner = parts.tokenizer.encode(text)[1:-1]
        by_hand = [np.array([2, *inner[i : i + 8], 3], np.int32) for i in range(0, len(inner), 8)]
        expected = torch.stack([features(whole, [window])[0] for window in by_hand]).mean(0)
        found = features(parts, [text, "the cat"])
        torch.testing.assert_close(found[0], expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(found[1:], features(whole, ["the cat"]), atol=1e-5, rtol=1e-4)

    def test_pairs_have_two_sides(self, folders: dict[str, Path]) -> None:
        backbone = opened(folders["bert"])
        batch = batch_of(backbone, [("the cat", "a dog ran"), ("rain", "wind")])
        first = batch["types"][0][batch["mask"][0]]
        assert first.tolist() == sorted(first.tolist())
        assert {0, 1} == set(first.tolist())
        swapped = features(backbone, [("a dog ran", "the cat")])
        assert not torch.allclose(swapped, features(backbone, [("the cat", "a dog ran")]), atol=1e-4)

    def test_other_scripts_pass(self, folders: dict[str, Path]) -> None:
        assert torch.isfinite(features(opened(folders["bert"]), ["这本书很好看", "とても良い本です"])).all()

    @pytest.mark.parametrize("how", ["cls", "max", "attention"])
    def test_poolings(self, how: str, folders: dict[str, Path]) -> None:
        backbone = opened(folders["bert"], pooling=how)
        batch = batch_of(backbone, SENTENCES)
        with torch.no_grad():
            state = backbone.run(batch)
            found = backbone.pool(state)
        x, mask = state["x"], batch["mask"]
        rows = [x[i][mask[i]] for i in range(len(x))]
        expected = {
            "cls": x[:, 0],
            "max": torch.stack([r.amax(0) for r in rows]),
            "attention": torch.stack([r.mean(0) for r in rows]),  # as long as nothing has been learnt
        }[how]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
        assert ("pooling" in backbone.stages) == (how == "attention")

    def test_attention_learns_and_is_kept(self, folders: dict[str, Path], tmp_path: Path) -> None:
        backbone = opened(folders["bert"], pooling="attention")
        assert backbone.pooling is not None
        with torch.no_grad():
            backbone.pooling.weight.normal_(generator=torch.Generator().manual_seed(0))
        expected = features(backbone, SENTENCES)
        model = Model(backbone, {"y": Head(16, 2)})
        save_bundle(tmp_path, Bundle(model, (Task("y", "single-label", ("a", "b")),)))
        again = load_bundle(tmp_path).model.backbone
        assert isinstance(again, TextBackbone)
        torch.testing.assert_close(features(again, SENTENCES), expected)

    def test_plain_transformers_opens_the_bundle(self, folders: dict[str, Path], tmp_path: Path) -> None:
        from transformers import AutoModel, AutoTokenizer

        backbone = opened(folders["roberta"])
        model = Model(backbone, {"y": Head(16, 2)})
        save_bundle(tmp_path, Bundle(model, (Task("y", "single-label", ("a", "b")),)))
        net = AutoModel.from_pretrained(tmp_path, add_pooling_layer=False).eval()
        batch = AutoTokenizer.from_pretrained(tmp_path)(list(SENTENCES[:1]), return_tensors="pt")
        with torch.no_grad():
            hidden = net(batch["input_ids"], batch["attention_mask"]).last_hidden_state
        torch.testing.assert_close(hidden.mean(1), features(backbone, SENTENCES[:1]), atol=1e-5, rtol=1e-4)


class TestRefusals:
    def test_more_tokens_than_positions(self, folders: dict[str, Path]) -> None:
        with pytest.raises(ModelError, match="40 positions; 41 tokens"):
            opened(folders["bert"], size=41)
        with pytest.raises(ModelError, match="38 positions"):
            opened(folders["roberta"], size=39)

    def test_a_tokenizer_of_another_model(self, tmp_path: Path) -> None:
        save_family("bert", tmp_path, vocab_size=50)
        with pytest.raises(ModelError, match=r"tokenizer of .* has \d+ tokens, its network 50"):
            opened(tmp_path)

    def test_no_encoder(self, tmp_path: Path) -> None:
        from tests.models.tiny_texts import tokenizer
        from transformers import GPT2Config, GPT2Model

        GPT2Model(GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=100, n_positions=32)).save_pretrained(tmp_path)
        tokenizer().save_pretrained(tmp_path)
        with pytest.raises(ModelError, match="no encoder of texts"):
            opened(tmp_path)

    def test_unknown_pooling(self, folders: dict[str, Path]) -> None:
        with pytest.raises(ModelError, match="cannot pool positions by 'last'"):
            opened(folders["bert"], pooling="last")

    def test_a_network_for_pictures(self) -> None:
        with pytest.raises(ModelError, match="network for pictures"):
            open_model("timm:resnet18", Wanted(modality="text"))
        with pytest.raises(ModelError, match="for pictures"):
            open_model("sample:all-minilm-l6-v2", Wanted())

    def test_weights_that_do_not_fill_it(self, folders: dict[str, Path], tmp_path: Path) -> None:
        from safetensors.torch import load_file, save_file

        tensors = load_file(folders["bert"] / "model.safetensors")
        save_file({k: v for k, v in tensors.items() if ".layer.1." not in k}, tmp_path / "w.safetensors")
        wanted = Wanted(modality="text", arch=str(folders["bert"]))
        with pytest.raises(ModelError, match="do not fill the architecture"):
            open_model(f"file:{tmp_path / 'w.safetensors'}", wanted)
        save_file(tensors, tmp_path / "all.safetensors")
        again = open_model(f"file:{tmp_path / 'all.safetensors'}", wanted)
        torch.testing.assert_close(
            again.tensors()["encoder.layer.1.output.dense.weight"], tensors["encoder.layer.1.output.dense.weight"]
        )
