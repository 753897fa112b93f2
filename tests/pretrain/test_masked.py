"""What is hidden, and that the loss is over nothing else: words of Transformers, stretches of series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.models.own_networks import series_network
from tests.models.tiny_texts import FAMILIES, SENTENCES, save_family
from torch.nn import functional as F

from headstart.core.seeding import derive
from headstart.data import load_inputs
from headstart.models.model import Model
from headstart.models.opening import open_model
from headstart.models.torchvision_import import prepare_torchvision
from headstart.models.wanted import Wanted
from headstart.pretrain import unlabelled
from headstart.pretrain.masked_series import MaskedSeries, stretches
from headstart.pretrain.masked_words import MaskedLanguageModel, hide
from headstart.train.batch import Batch
from headstart.train.objective import Context
from headstart.train.reader import Reader

prepare_torchvision()


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = save_family("bert", tmp_path_factory.mktemp("bert"))
    return open_model(f"hf:{folder}", Wanted(modality="text", size=24)).eval()


def built(backbone: Any, part: Any, objective: Any) -> tuple[Model, Context, Batch]:
    """The model with its decoder, and a batch of the first pieces."""
    model = Model(backbone, {})
    ctx = Context(model, Reader({"corpus": part}, backbone, 0))
    model.parts.update(objective.build(ctx))
    return model.eval(), ctx, ctx.reader.batch("corpus", range(min(4, len(part))), ("plain",), labels=False)


class TestHiding:
    def test_of_the_chosen_80_are_masked_10_replaced_and_10_left(self, bert: Any) -> None:
        ids = torch.full((400, 100), 60)
        state, chosen = hide({"ids": ids, "mask": torch.ones_like(ids, dtype=torch.bool)}, bert.tokenizer, 0.15, 1)
        shown, size = state["ids"][chosen], bert.tokenizer.size
        assert float(chosen.float().mean()) == pytest.approx(0.15, abs=0.006)
        assert float((shown == bert.tokenizer.special.mask).float().mean()) == pytest.approx(0.8 + 0.1 / size, abs=0.02)
        assert float((shown == 60).float().mean()) == pytest.approx(0.1 + 0.1 / size, abs=0.015)
        others = shown[(shown != 60) & (shown != bert.tokenizer.special.mask)]
        assert len(others.unique()) > 0.9 * (size - 2)
        assert int(others.max()) < size

    def test_special_tokens_and_padding_are_never_chosen(self, bert: Any) -> None:
        special = torch.tensor(sorted(bert.tokenizer.special.numbers()))
        assert len(special) == 5
        ids = torch.cat([special, torch.arange(20, 40)]).repeat(50, 1)
        mask = torch.ones_like(ids, dtype=torch.bool)
        mask[:, -6:] = False
        state, chosen = hide({"ids": ids, "mask": mask}, bert.tokenizer, 1.0, 1)
        assert torch.equal(chosen, mask & ~torch.isin(ids, special))
        assert torch.equal(state["ids"][~chosen], ids[~chosen])

    def test_the_view_itself_stays_whole(self, bert: Any) -> None:
        ids = torch.full((5, 20), 60)
        hide({"ids": ids, "mask": torch.ones_like(ids, dtype=torch.bool)}, bert.tokenizer, 0.5, 1)
        assert bool((ids == 60).all())


class TestMaskedWords:
    def test_the_loss_is_over_the_chosen_words_alone(self, bert: Any, tmp_path: Path) -> None:
        objective = MaskedLanguageModel(share=0.3)
        model, _, batch = built(bert, unlabelled(bert, load_inputs(list(SENTENCES), "text"), tmp_path), objective)
        seen: list[torch.Tensor] = []
        handle = bert.net.embeddings.word_embeddings.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        with torch.no_grad():
            total, count = objective.judge(model, batch)
            handle.remove()
            view = batch.views["plain"]
            hidden = bert.net(input_ids=seen[0], attention_mask=view["mask"].long()).last_hidden_state
            scores = model.parts["decoder"](hidden, bert.token_embedding().weight)
        state, chosen = hide(view, bert.tokenizer, 0.3, derive(0, "judge", *batch.ids[:1]))
        assert torch.equal(seen[0], state["ids"])
        each = F.cross_entropy(scores.flatten(0, 1), view["ids"].flatten(), reduction="none").view_as(chosen)
        assert count == int(chosen.sum()) > 5
        assert total == pytest.approx(float(each[chosen].sum()), rel=1e-4)

    def test_gradients_reach_the_decoder_from_chosen_places_only(self, bert: Any, tmp_path: Path) -> None:
        objective = MaskedLanguageModel(share=0.3)
        model, ctx, batch = built(bert, unlabelled(bert, load_inputs(list(SENTENCES), "text"), tmp_path), objective)
        given: list[torch.Tensor] = []
        model.parts["decoder"].register_forward_pre_hook(lambda _, args: given.append(args[0]))
        loss = objective.losses(model, {"corpus": batch}, ctx).total()
        loss.backward()
        places = int(batch.views["plain"]["mask"].sum())
        assert 0 < len(given[0]) < 0.6 * places
        assert bert.token_embedding().weight.grad is not None
        bert.zero_grad()

    def test_other_words_are_hidden_at_every_step_and_the_same_at_every_judgement(
        self, bert: Any, tmp_path: Path
    ) -> None:
        objective = MaskedLanguageModel()
        model, ctx, batch = built(bert, unlabelled(bert, load_inputs(list(SENTENCES), "text"), tmp_path), objective)
        with torch.no_grad():
            assert objective.judge(model, batch) == objective.judge(model, batch)
            losses = []
            for ctx.clock.step in (0, 1, 0):
                losses.append(float(objective.losses(model, {"corpus": batch}, ctx).total()))
        assert losses[0] == losses[2] != losses[1]

    @pytest.mark.parametrize("family", FAMILIES)
    def test_every_family_can_be_trained_so(self, family: str, tmp_path: Path) -> None:
        backbone = open_model(f"hf:{save_family(family, tmp_path / 'm')}", Wanted(modality="text", size=24))
        objective = MaskedLanguageModel()
        part = unlabelled(backbone, load_inputs(list(SENTENCES), "text"), tmp_path)
        model, ctx, batch = built(backbone, part, objective)
        objective.losses(model, {"corpus": batch}, ctx).total().backward()
        for stage, parameters in backbone.stage_parameters().items():
            assert any(p.grad is not None and bool(p.grad.any()) for p in parameters), stage


def waves() -> list[np.ndarray]:
    r = np.random.default_rng(0)
    made = [r.normal(2, 3, size=(n, 3)).astype(np.float32) for n in (30, 50, 41, 20)]
    made[0][:, 1] = np.nan
    return made


class TestMaskedSeries:
    @pytest.mark.parametrize("name", ["gru", "inception-time"])
    def test_the_loss_is_over_hidden_known_values_alone(self, name: str) -> None:
        """Squared error in units of the deviations, by hand: NaN goes in where values are hidden."""
        backbone = series_network(name, mean=(2.0,) * 3, std=(3.0,) * 3)
        objective = MaskedSeries()
        model, _, batch = built(backbone, load_inputs(waves(), "sequence"), objective)
        seen: list[torch.Tensor] = []
        first = next(iter(backbone.stages.values()))
        handle = first.register_forward_pre_hook(lambda _, args: seen.append(args[0]["x"]))
        with torch.no_grad():
            total, count = objective.judge(model, batch)
            handle.remove()
            view = batch.views["plain"]
            whole = backbone.begin(view)["x"]
            made = model.parts["decoder"](backbone.run({**view, "x": seen[0]})["x"])
        hidden = seen[0] != whole
        assert bool((seen[0][hidden] == 0).all())
        assert not bool((hidden & ~view["mask"][..., None]).any())
        assert not bool((hidden & torch.isnan(view["x"])).any())
        assert count == int(hidden.sum())
        assert total == pytest.approx(float(((made - whole)[hidden] ** 2).sum()), rel=1e-5)

    def test_hidden_values_do_not_leak(self) -> None:
        """Other values at the hidden places change the answers asked for, never the answers given."""
        backbone, objective = series_network("gru"), MaskedSeries()
        model, _, batch = built(backbone, load_inputs(waves()[1:], "sequence"), objective)
        given: list[torch.Tensor] = []
        model.parts["decoder"].register_forward_hook(lambda *args: given.append(args[2]))
        view = batch.views["plain"]
        with torch.no_grad():
            first = objective._squares(model, batch, seed=5)
            hidden = stretches(view["x"].shape, 0.15, 3.0, seed=5)
            other = Batch(batch.ids, {"plain": {**view, "x": torch.where(hidden, view["x"] + 100, view["x"])}})
            second = objective._squares(model, other, seed=5)
        assert torch.equal(given[0], given[1])
        assert len(first) == len(second)
        assert bool((second > first).all())

    def test_hidden_values_enter_as_missing_ones_do(self) -> None:
        backbone, objective = series_network("gru", "indicators=yes"), MaskedSeries()
        model, _, batch = built(backbone, load_inputs(waves()[1:], "sequence"), objective)
        seen: list[torch.Tensor] = []
        backbone.stages["rnn.0"].register_forward_pre_hook(lambda _, args: seen.append(args[0]["x"]))
        with torch.no_grad():
            _, count = objective.judge(model, batch)
        assert int(seen[-1][..., 3:].sum()) == count
        assert not bool(seen[-1][..., :3][seen[-1][..., 3:] == 1].any())

    def test_other_stretches_are_hidden_at_every_step_and_the_same_at_every_judgement(self) -> None:
        backbone, objective = series_network("gru"), MaskedSeries()
        model, ctx, batch = built(backbone, load_inputs(waves(), "sequence"), objective)
        with torch.no_grad():
            assert objective.judge(model, batch) == objective.judge(model, batch)
            losses = []
            for ctx.clock.step in (0, 1, 0):
                losses.append(float(objective.losses(model, {"corpus": batch}, ctx).total()))
        assert losses[0] == losses[2] != losses[1]

    def test_the_decoder_answers_for_every_channel_but_not_for_indicators(self) -> None:
        backbone, objective = series_network("gru", "indicators=yes,width=16"), MaskedSeries()
        model, _, _ = built(backbone, load_inputs(waves(), "sequence"), objective)
        assert model.parts["decoder"].weight.shape == (3, 16)
