"""Ways of pooling against the same on unpadded rows."""

from __future__ import annotations

import pytest
import torch

from headstart.core.errors import ModelError
from headstart.models.pooling import AttentionPooling, pool_positions
from headstart.models.token_backbone import mean_of_rows

LENGTHS = (1, 4, 9)


def padded() -> tuple[torch.Tensor, torch.Tensor]:
    """Three rows of unequal length; what stands behind their ends would win any maximum and sway any mean."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 9, 6, generator=generator) - 5
    mask = torch.arange(9)[None] < torch.tensor(LENGTHS)[:, None]
    return x.masked_fill(~mask[..., None], 1e4), mask


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("how", ["cls", "mean", "max", "last", "concat"])
def test_padding_is_masked(how: str, directions: int) -> None:
    x, mask = padded()
    found = pool_positions(x, mask, how, directions)
    for row, length in enumerate(LENGTHS):
        alone = pool_positions(x[row : row + 1, :length], None, how, directions)
        torch.testing.assert_close(found[row : row + 1], alone)


def test_padding_is_masked_from_attention() -> None:
    x, mask = padded()
    attention = AttentionPooling(6)
    torch.nn.init.normal_(attention.weight, generator=torch.Generator().manual_seed(1))
    found = attention(x, mask)
    for row, length in enumerate(LENGTHS):
        torch.testing.assert_close(found[row : row + 1], attention(x[row : row + 1, :length], None))


def test_each_way_is_its_formula() -> None:
    x = torch.tensor([[[1.0, -4.0], [3.0, 2.0], [2.0, 8.0]]])
    expected = {"cls": [1, -4], "mean": [2, 2], "max": [3, 8], "last": [2, 8], "concat": [2, 8, 3, 8, 2, 2]}
    assert {how: pool_positions(x, None, how)[0].tolist() for how in expected} == expected


def test_attention_weighs_by_the_softmax_of_scores() -> None:
    x = torch.tensor([[[0.0, 5.0], [1.0, 7.0]]])
    attention = AttentionPooling(2)
    with torch.no_grad():
        attention.weight.copy_(torch.tensor([torch.log(torch.tensor(3.0)), 0.0]))
    torch.testing.assert_close(attention(x, None), torch.tensor([[0.75, 6.5]]))


def test_attention_starts_as_the_mean_and_learns() -> None:
    x, mask = padded()
    attention = AttentionPooling(6)
    made = attention(x, mask)
    torch.testing.assert_close(made, pool_positions(x, mask, "mean"))
    made.square().sum().backward()
    assert attention.weight.grad is not None
    assert bool((attention.weight.grad != 0).all())


def test_padding_gets_no_gradient() -> None:
    x, mask = padded()
    for how in ("mean", "max", "last", "concat"):
        leaf = x.clone().requires_grad_()
        pool_positions(leaf, mask, how).sum().backward()
        assert leaf.grad is not None
        assert not leaf.grad[~mask].any(), how


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(ModelError, match="'median'"):
        pool_positions(*padded(), "median")


def test_rows_of_a_text_are_averaged_and_others_left_alone() -> None:
    x = torch.tensor([[1.0], [3.0], [5.0], [11.0]])
    rows = torch.tensor([0, 1, 1, 2])
    assert mean_of_rows(x, {"rows": rows}).tolist() == [[1], [4], [11]]
    assert mean_of_rows(x, {}) is x
