"""InceptionTime against its paper: depth, widths, kernels, shortcuts; and that padding has no influence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.models.own_networks import batch_of, features, series_network
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.models.inception_time import InceptionBlock, InceptionModule, InceptionTimeConfig


def unequal() -> list[np.ndarray]:
    r = np.random.default_rng(0)
    return [r.normal(size=(n, 3)).astype(np.float32) for n in (3, 20, 50)]


def module_by_hand(module: InceptionModule, x: Tensor) -> Tensor:
    """Fawaz et al. 2020, figure 2, of series without padding."""
    narrow = F.conv1d(x, module.bottleneck.weight)
    long = [F.conv1d(narrow, c.weight, padding=c.kernel_size[0] // 2) for c in module.convolutions]
    pooled = F.max_pool1d(x, 3, stride=1, padding=1)
    return torch.relu(module.norm(torch.cat([*long, F.conv1d(pooled, module.beside.weight)], 1)))


class TestPaper:
    def test_six_modules_of_four_times_32_filters(self) -> None:
        modules = [m for m in series_network("inception-time").modules() if isinstance(m, InceptionModule)]
        assert len(modules) == 6
        assert [m.norm.num_features for m in modules] == [128] * 6
        assert all(c.out_channels == 32 for m in modules for c in (*m.convolutions, m.beside))

    def test_kernels_are_39_19_and_9_behind_a_bottleneck_of_32(self) -> None:
        modules = [m for m in series_network("inception-time").modules() if isinstance(m, InceptionModule)]
        for module in modules:
            assert [c.kernel_size for c in module.convolutions] == [(39,), (19,), (9,)]
            assert [c.in_channels for c in module.convolutions] == [32] * 3
            assert module.beside.kernel_size == (1,)

    def test_convolutions_have_no_bias(self) -> None:
        """The norm behind them has one."""
        convolutions = [m for m in series_network("inception-time").modules() if isinstance(m, nn.Conv1d)]
        assert len(convolutions) == 6 * 5 + 2
        assert all(c.bias is None for c in convolutions)

    def test_one_channel_needs_no_bottleneck(self) -> None:
        module = InceptionModule(1, InceptionTimeConfig())
        assert [c.in_channels for c in module.convolutions] == [1] * 3
        assert module(torch.randn(2, 1, 9), torch.ones(2, 9, dtype=torch.bool)).shape == (2, 128, 9)

    def test_a_module_is_that_of_the_figure(self) -> None:
        torch.manual_seed(0)
        module, x = InceptionModule(3, InceptionTimeConfig(filters=4, bottleneck=5)).eval(), torch.randn(2, 3, 30)
        found = module(x, torch.ones(2, 30, dtype=torch.bool))
        torch.testing.assert_close(found, module_by_hand(module, x))

    def test_a_shortcut_goes_around_three_modules(self) -> None:
        torch.manual_seed(0)
        block, x = InceptionBlock(3, InceptionTimeConfig(filters=4, bottleneck=5)).eval(), torch.randn(2, 3, 30)
        y = x
        for module in block.layers:
            y = module_by_hand(module, y)
        expected = torch.relu(y + block.norm(F.conv1d(x, block.shortcut.weight)))
        found = block({"x": x.transpose(1, 2), "mask": torch.ones(2, 30, dtype=torch.bool)})["x"]
        assert len(block.layers) == 3
        torch.testing.assert_close(found.transpose(1, 2), expected)

    def test_the_mean_over_time_is_its_own_pooling(self) -> None:
        backbone = series_network("inception-time")
        x = unequal()[2]
        state = backbone.run(batch_of(backbone, [x]))
        assert backbone.input_spec.pooling == "mean"
        torch.testing.assert_close(features(backbone, [x]), state["x"].detach().mean(1))


class TestPadding:
    def test_series_alone_and_together_are_equal(self) -> None:
        """Shorter than the longest kernel too, and with statistics as training leaves them."""
        backbone = series_network("inception-time", "filters=4").train()
        backbone.run(batch_of(backbone, unequal()))
        backbone.eval()
        alone = torch.cat([features(backbone, [x]) for x in unequal()])
        torch.testing.assert_close(features(backbone, unequal()), alone, atol=1e-6, rtol=1e-5)

    def test_the_end_of_a_series_below_zero_does_not_see_the_zeros_behind_it(self) -> None:
        """A maximum over the last steps is theirs."""
        backbone = series_network("inception-time", "filters=4")
        series = [-1 - np.abs(x) for x in unequal()]
        alone = torch.cat([features(backbone, [x]) for x in series])
        torch.testing.assert_close(features(backbone, series), alone, atol=1e-6, rtol=1e-5)

    def test_more_padding_changes_no_statistic_in_training(self) -> None:
        one, two = (series_network("inception-time", "filters=4").train() for _ in range(2))
        batch = batch_of(one, unequal()[:2])
        longer = {"x": F.pad(batch["x"], (0, 0, 0, 13)), "mask": F.pad(batch["mask"], (0, 13))}
        torch.testing.assert_close(one.run(batch)["x"], two.run(longer)["x"][:, :20], atol=1e-5, rtol=1e-4)
        for (name, a), (_, b) in zip(one.named_buffers(), two.named_buffers(), strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4, msg=name)

    def test_positions_behind_the_end_stay_zero(self) -> None:
        backbone = series_network("inception-time", "filters=4")
        batch = batch_of(backbone, unequal())
        for _, state in backbone.walk(batch):
            assert not state["x"][~batch["mask"]].any()

    def test_half_precision_takes_padding(self) -> None:
        backbone = series_network("inception-time", "filters=4").train()
        with torch.autocast("cpu", torch.bfloat16):
            state = backbone.run(batch_of(backbone, unequal()))
        assert torch.isfinite(state["x"]).all()


@pytest.mark.parametrize(("blocks", "stages"), [(1, ["block.0"]), (3, ["block.0", "block.1", "block.2"])])
def test_blocks_are_stages(blocks: int, stages: list[str]) -> None:
    assert list(series_network("inception-time", f"filters=4,blocks={blocks}").stages) == stages


def test_missing_values_may_be_indicated() -> None:
    backbone = series_network("inception-time", "filters=4,indicators=yes")
    zero, gone = np.zeros((6, 3), np.float32), np.zeros((6, 3), np.float32)
    gone[2, 1] = np.nan
    assert not torch.allclose(features(backbone, [zero]), features(backbone, [gone]))
    plain = series_network("inception-time", "filters=4")
    assert torch.equal(features(plain, [zero]), features(plain, [gone]))
