"""Task-specific normalisation layers on a shared, frozen backbone."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from headstart.core.errors import ConfigError
from headstart.core.registry import register
from headstart.models.backbone import Backbone
from headstart.multitask.architectures.edited import Edited, stage_tensors


class Tensors(nn.Module):
    """Copies of parameters and buffers, in order."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        for i, tensor in enumerate(tensors.values()):
            if isinstance(tensor, nn.Parameter):
                self.register_parameter(str(i), nn.Parameter(tensor.detach().clone()))
            else:
                self.register_buffer(str(i), tensor.clone())

    def values(self) -> list[Tensor]:
        """In the order in which they were given."""
        kept = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        return [kept[str(i)] for i in range(len(kept))]


@register(
    "architecture",
    "norms",
    summary="a shared frozen backbone; every task has normalisation layers (or else biases) of its own",
    source="Bilen & Vedaldi 2017 (arXiv 1701.07275); biases: Ben Zaken et al. 2022 (arXiv 2106.10199)",
)
class Norms(Edited):
    """Scales, shifts and statistics of all normalisation layers are a task's own; they start as the backbone's.

    In a network without such layers (an LSTM), its biases are. A pass per task. Statistics of batch norms move only
    where a phase trains their stages and says bn="adapt". No options.

    Raises
    ------
    ConfigError
        When the network has neither.
    """

    def __init__(self, backbone: Backbone, heads: Mapping[str, nn.Module], grid: int = 1) -> None:
        super().__init__(backbone, heads, grid)
        tensors = stage_tensors(backbone)
        norms = {name: t for name, (module, t) in tensors.items() if _is_norm(module)}
        mine = norms or {name: t for name, (_, t) in tensors.items() if isinstance(t, nn.Parameter) and t.dim() == 1}
        if not mine:
            raise ConfigError(
                "The network has neither normalisation layers nor biases.", "Use the architecture 'adapters'."
            )
        self.names = tuple(mine)
        self.parts["sharing"] = nn.ModuleList(Tensors(mine) for _ in self.tasks)

    def edits(self, task: int) -> Mapping[str, Tensor]:
        own: Tensors = self.parts["sharing"][task]  # type: ignore[index]
        return dict(zip(self.names, own.values(), strict=True))


def _is_norm(module: nn.Module) -> bool:
    """By its name: networks have norms of their own classes (RMSNorm, LayerNorm2d)."""
    return "norm" in type(module).__name__.lower() and not list(module.children())
