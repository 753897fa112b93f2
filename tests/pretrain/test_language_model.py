"""Language modelling: the stream's state, tied weights, penalties, and what a frozen embedding means."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.models.own_networks import TEXTS, text_network
from torch.nn import functional as F

from headstart.models.model import Model
from headstart.models.vocabulary import train_vocabulary
from headstart.pretrain.corpus import Chunks, write_corpus
from headstart.pretrain.language_model import LanguageModel
from headstart.train.batch import Batch, Terms
from headstart.train.loop import Settings, Trainer, Work
from headstart.train.objective import Context
from headstart.train.phase import Phase
from headstart.train.reader import Reader


def network(name: str = "awd-lstm") -> Any:
    """Without dropout, so that two ways to the same numbers can be compared."""
    return text_network(name, "dropout=0")


def pieces(folder: Path, size: int = 5) -> Chunks:
    return Chunks(write_corpus(TEXTS * 4, train_vocabulary(TEXTS), folder / "c.bin"), size, ahead=1)


class Watched(LanguageModel):
    """Notes what every step was given."""

    def __init__(self, **options: float) -> None:
        super().__init__(**options)
        self.given: list[tuple[int, dict[str, torch.Tensor]]] = []

    def losses(
        self, model: Model, batches: Mapping[str, Batch], ctx: Context, only: frozenset[str] | None = None
    ) -> Terms:
        self.given.append((ctx.clock.epoch, dict(batches["corpus"].views["plain"])))
        return super().losses(model, batches, ctx, only)


def trained(
    backbone: Any, part: Chunks, rates: Mapping[str, float], epochs: int = 2, **phase: Any
) -> tuple[Model, Watched]:
    objective, model = Watched(), Model(backbone, {})
    work = Work(Phase("all", dict(rates), epochs, batch_size=4, keep="last", **phase), [objective])
    Trainer(model, Reader({"corpus": part}, backbone, 0), [work], Settings()).run()
    return model, objective


def built(backbone: Any, part: Chunks, **options: float) -> tuple[Model, LanguageModel, Context]:
    model, objective = Model(backbone, {}), LanguageModel(**options)
    ctx = Context(model, Reader({"corpus": part}, backbone, 0))
    model.parts.update(objective.build(ctx))
    return model, objective, ctx


class TestCarry:
    @pytest.mark.parametrize("accumulate", [1, 2])
    @pytest.mark.parametrize("name", ["awd-lstm", "lstm", "gru"])
    def test_a_step_begins_in_the_state_that_all_before_it_left(
        self, name: str, accumulate: int, tmp_path: Path
    ) -> None:
        """Against one long pass over what each row has read so far; weights hardly move meanwhile."""
        backbone = network(name)
        _, objective = trained(
            backbone, pieces(tmp_path), dict.fromkeys([*backbone.stages, "*"], 1e-12), accumulate=accumulate
        )
        backbone.eval()
        read: list[torch.Tensor] = []
        for (before, _), (epoch, view) in zip([(-1, {}), *objective.given], objective.given, strict=False):
            carried = {k: v for k, v in view.items() if k.startswith("carry.")}
            if before != epoch:
                read = []
                assert not carried
            else:
                ids = torch.cat(read, dim=1)
                with torch.no_grad():
                    final = backbone.run({"ids": ids, "mask": torch.ones_like(ids, dtype=torch.bool)})
                assert carried.keys() == {k for k in final if k.startswith("carry.")}
                for key, value in carried.items():
                    torch.testing.assert_close(value, final[key], atol=1e-5, rtol=1e-4)
            read.append(view["ids"][:, :5])
        assert len(objective.given) > 20

    def test_errors_go_back_through_one_piece_only(self, tmp_path: Path) -> None:
        model, objective, ctx = built(network(), pieces(tmp_path))
        batch = ctx.reader.batch("corpus", [0, 5], ("plain",), labels=False)
        objective.losses(model, {"corpus": batch}, ctx)
        assert len(ctx.carry) == 3
        assert not any(value.requires_grad for value in ctx.carry.values())

    def test_judging_neither_reads_nor_leaves_a_state(self, tmp_path: Path) -> None:
        model, objective, ctx = built(network(), pieces(tmp_path))
        batch = ctx.reader.batch("corpus", [0, 5], ("plain",), labels=False)
        model.eval()
        with torch.no_grad():
            first = objective.judge(model, batch)
            assert objective.judge(model, batch) == first
        assert ctx.carry == {}


class TestLoss:
    def test_it_is_the_cross_entropy_of_the_next_word(self, tmp_path: Path) -> None:
        """Features times the embedding itself, plus a bias."""
        model, objective, ctx = built(network(), pieces(tmp_path))
        torch.nn.init.normal_(model.parts["decoder"].bias)
        batch = ctx.reader.batch("corpus", [0, 7, 9], ("plain",), labels=False)
        terms = objective.losses(model, {"corpus": batch}, ctx)
        ids = torch.stack([torch.from_numpy(pieces(tmp_path).read(i).inputs).long() for i in (0, 7, 9)])
        backbone = model.backbone
        x = backbone.run({"ids": ids[:, :-1], "mask": torch.ones(3, 5, dtype=torch.bool)})["x"]
        scores = x @ backbone.token_embedding().weight.T + model.parts["decoder"].bias
        expected = F.cross_entropy(scores.reshape(15, -1), ids[:, 1:].reshape(-1))
        torch.testing.assert_close(terms.tasks["lm"], expected)
        with torch.no_grad():
            total, count = objective.judge(model, batch)
        assert count == 15
        assert total / count == pytest.approx(expected.item(), rel=1e-5)

    def test_penalties_are_on_dropped_activations_and_raw_changes(self, tmp_path: Path) -> None:
        """Merity et al. 2018, section 4.6: alpha on what follows dropout, beta on what precedes it."""
        model, objective, ctx = built(
            text_network("awd-lstm", "output_dropout=0.5"), pieces(tmp_path), alpha=3.0, beta=5.0
        )
        model.train()
        batch = ctx.reader.batch("corpus", [0, 7], ("plain",), labels=False)
        torch.manual_seed(1)
        terms = objective.losses(model, {"corpus": batch}, ctx)
        torch.manual_seed(1)
        ids = batch.views["plain"]["ids"][:, :5]
        final = model.backbone.run({"ids": ids, "mask": torch.ones_like(ids, dtype=torch.bool)})
        assert bool((final["x"] == 0).any())
        assert not bool((final["raw"] == 0).any())
        torch.testing.assert_close(terms.extra["activation"], 3 * (final["x"] ** 2).mean())
        change = final["raw"][:, 1:] - final["raw"][:, :-1]
        torch.testing.assert_close(terms.extra["change"], 5 * (change**2).mean())

    def test_penalties_may_be_left_out(self, tmp_path: Path) -> None:
        model, objective, ctx = built(network(), pieces(tmp_path), alpha=0.0, beta=0.0)
        batch = ctx.reader.batch("corpus", [0], ("plain",), labels=False)
        assert objective.losses(model, {"corpus": batch}, ctx).extra == {}

    def test_another_width_than_the_embedding_is_mapped_to_it(self, tmp_path: Path) -> None:
        model, objective, ctx = built(network("gru"), pieces(tmp_path))
        assert model.parts["decoder"].project.weight.shape == (8, 12)
        batch = ctx.reader.batch("corpus", [0], ("plain",), labels=False)
        assert torch.isfinite(objective.losses(model, {"corpus": batch}, ctx).total())

    def test_its_map_is_drawn_from_the_seed_of_the_run(self, tmp_path: Path) -> None:
        def drawn(seed: int) -> torch.Tensor:
            backbone = network("gru")
            ctx = Context(Model(backbone, {}), Reader({"corpus": pieces(tmp_path)}, backbone, seed), seed)
            return LanguageModel().build(ctx)["decoder"].project.weight

        before = torch.random.get_rng_state()
        first = drawn(0)
        torch.rand(5)
        assert torch.equal(first, drawn(0))
        assert not torch.equal(first, drawn(1))
        torch.random.set_rng_state(before)


class TestTiedWeights:
    def test_they_belong_to_the_embedding_alone(self, tmp_path: Path) -> None:
        model, _, _ = built(network(), pieces(tmp_path))
        groups = model.groups()
        weight = model.backbone.token_embedding().weight
        assert [name for name, group in groups.items() if any(p is weight for p in group)] == ["embedding"]

    def test_a_frozen_embedding_is_frozen_as_decoder_too(self, tmp_path: Path) -> None:
        backbone = network()
        before = {n: p.detach().clone() for n, p in backbone.named_parameters()}
        rates = {"rnn.1": 1e-2, "rnn.2": 1e-2, "*": 1e-2}
        model, _ = trained(backbone, pieces(tmp_path), rates, epochs=1)
        moved = {n.split(".")[0] for n, p in backbone.named_parameters() if not torch.equal(p, before[n])}
        assert moved == {"rnn_1", "rnn_2"}
        assert bool(model.parts["decoder"].bias.any())

    def test_both_uses_of_the_weight_give_gradients(self, tmp_path: Path) -> None:
        """A word that is never read is still scored: its row moves, as output."""
        model, objective, ctx = built(network(), pieces(tmp_path))
        batch = ctx.reader.batch("corpus", [0], ("plain",), labels=False)
        objective.losses(model, {"corpus": batch}, ctx).total().backward()
        gradient = model.backbone.token_embedding().weight.grad
        assert gradient is not None
        unread = sorted(set(range(len(gradient))) - set(batch.views["plain"]["ids"].flatten().tolist()))
        assert unread
        assert bool(gradient[unread].any(1).all())
