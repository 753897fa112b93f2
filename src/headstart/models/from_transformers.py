"""Vision networks of transformers as backbones."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from headstart.core.errors import ModelError
from headstart.core.seeding import derive
from headstart.models.backbone import InputSpec, Provenance
from headstart.models.hub import hub_answers, is_hub_error, out_of_reach
from headstart.models.reference import Reference
from headstart.models.torchvision_import import prepare_torchvision
from headstart.models.traced import Native, TracedBackbone
from headstart.models.tracing import block_groups
from headstart.models.weights import hash_tensors

if TYPE_CHECKING:
    from headstart.models.wanted import Wanted

T = TypeVar("T")

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def open_transformers(reference: Reference, wanted: Wanted) -> TracedBackbone:
    """Open `hf:NAME`: a local folder, the hub's cache, or the hub, in this order.

    Raises
    ------
    ModelError
        Not a vision model, out of reach, or weights that do not fill the architecture.
    """
    config, net, given = from_hub(reference, reference.name, lambda local: _load_from(reference, wanted, local))
    size_of = config.image_size if isinstance(getattr(config, "image_size", None), int) else 224
    size = wanted.size or size_of
    notes = ["The weights are random: nothing was pretrained."] if reference.scratch else []
    if size != size_of:
        notes.append(f"Pictures enter at {size} px; the network was trained at {size_of} px.")
    if wanted.channels == 1:
        notes.append("Grey pictures are repeated to the network's three channels.")
    # Networks that take blue, green and red take them as they are, unless their file says otherwise.
    as_is = not given.get("do_normalize", not given.get("do_flip_channel_order"))
    if not reference.scratch and not as_is and not given.get("image_mean"):
        notes.append("No preprocessing was saved with the network: ImageNet's mean and deviation are used.")
    if given.get("do_flip_channel_order") and not reference.scratch:
        _to_rgb(net, str(reference))
        notes.append("The network took blue, green and red: its first convolution was turned round to take RGB.")
    arguments: dict[str, Any] = {"config": config.to_diff_dict()}
    if getattr(net, "pooler", None) is None and "pooler" in inspect.getsource(type(net)):
        arguments["pooler"] = False
    spec = InputSpec(
        size=size,
        native_size=size_of,
        fixed_size=_is_fixed(net, size_of),
        mean=(0.0, 0.0, 0.0) if as_is else tuple(given.get("image_mean") or IMAGENET_MEAN),
        std=(1.0, 1.0, 1.0) if as_is else tuple(given.get("image_std") or IMAGENET_STD),
        interpolation={0: "nearest", 1: "lanczos", 2: "bilinear"}.get(given.get("resample", 3), "bicubic"),
    )
    provenance = Provenance(
        reference=str(reference),
        architecture=type(net).__name__,
        library="transformers",
        source="random weights" if reference.scratch else f"Hugging Face hub or its cache, {reference.name}",
        licence="unknown",
        sha256=hash_tensors(net.state_dict()),
        arguments=arguments,
        notes=tuple(notes),
    )
    try:
        return wrap_transformers(net, spec, provenance)
    except ValueError as error:
        raise ModelError(f"{reference} cannot take pictures of {size} px: {error}", f"Use {size_of} px.") from None


def _to_rgb(net: nn.Module, what: str) -> None:
    """Turn round the input channels of the first convolution."""
    first = next((m for m in net.modules() if isinstance(m, nn.Conv2d) and m.in_channels == 3), None)
    if first is None:
        what = f"{what} takes blue, green and red, and has no first convolution to turn round."
        raise ModelError(what, "Name another network.")
    with torch.no_grad():
        first.weight.copy_(first.weight.flip(1))


def from_hub(reference: Reference, name: str, load: Callable[[bool], T]) -> T:
    """What `load` gives: called with True for what is on this machine, and with False where the hub has to be asked.

    Parameters
    ----------
    name
        A folder, or a repository on the hub.

    Raises
    ------
    ModelError
        No such folder, hub out of reach, unreadable files.
    """
    is_folder = Path(name).is_dir()
    if name.startswith(("/", ".", "~")) and not is_folder:
        raise ModelError(f"There is no folder {name}.", "Check the path.")
    prepare_torchvision()
    import transformers
    from safetensors import SafetensorError

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        try:
            return load(True)
        except OSError:
            if is_folder or not hub_answers():
                raise
            return load(False)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        if not is_folder and (is_hub_error(error) or "not a local folder" in str(error)):
            raise out_of_reach(reference, error) from None
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        # Of weights that do not fit, torch names the tensors after a headline.
        told = next((line for line in lines if "size mismatch" in line), lines[0] if lines else type(error).__name__)
        raise ModelError(f"{name} cannot be opened: {told}", "Check the name, or fetch the files again.") from None


def build_transformers(arguments: dict[str, Any]) -> Any:
    """The network of a bundle's arguments, with random weights."""
    from transformers import AutoConfig, AutoModel

    config = dict(arguments["config"])
    net = AutoModel.from_config(AutoConfig.for_model(config.pop("model_type"), **config), dtype=torch.float32)
    if arguments.get("pooler") is False:
        net.pooler = None
    return net


def _load_from(reference: Reference, wanted: Wanted, local: bool) -> tuple[Any, nn.Module, dict[str, Any]]:
    """Configuration, network and preprocessing."""
    from transformers import AutoConfig, AutoModel

    name = reference.name
    config = AutoConfig.from_pretrained(name, local_files_only=local)
    if not hasattr(config, "num_channels") and not hasattr(config, "image_size"):
        raise ModelError(f"{name} is not a vision model ({config.model_type}).", "Name a vision model of transformers.")
    if wanted.channels not in (1, 3):
        raise ModelError(
            f"{reference} takes 3 channels; the pictures have {wanted.channels}.",
            "Use a timm: network, whose first convolution can be adapted.",
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(wanted.seed, "scratch") % 2**31)
        if reference.scratch:
            net = AutoModel.from_config(config, dtype=torch.float32)
        else:
            # Half as many bits are for the disk: a reference, and a network that is trained, has all.
            net, info = AutoModel.from_pretrained(
                name, local_files_only=local, output_loading_info=True, dtype=torch.float32
            )
            check_complete(name, net, sorted(info["missing_keys"]))
    return config, net, _preprocessing(name, local)


def check_complete(name: str, net: Any, missing: list[str]) -> None:
    """Drop a pooler that was not in the file: transformers would leave it at random."""
    if any(key.startswith("pooler.") for key in missing):
        net.pooler = None
    missing = [key for key in missing if not key.startswith("pooler.")]
    if missing:
        more = f" and {len(missing) - 4} more" if len(missing) > 4 else ""
        raise ModelError(
            f"The weights of {name} do not fill the architecture. missing: {', '.join(missing[:4])}{more}.",
            "The folder or repository holds weights of another model.",
        )


def _preprocessing(name: str, local: bool) -> dict[str, Any]:
    from transformers.image_processing_base import ImageProcessingMixin

    try:
        values, _ = ImageProcessingMixin.get_image_processor_dict(name, local_files_only=local)
    except (OSError, ValueError):
        return {}
    return values


def wrap_transformers(net: nn.Module, spec: InputSpec, provenance: Provenance) -> TracedBackbone:
    """A vision network of transformers with its stages found."""
    extra = {"interpolate_pos_encoding": True} if spec.size != spec.native_size and _interpolates(net) else {}
    generator = torch.Generator().manual_seed(0)
    example = torch.randn(1, spec.channels, spec.size, spec.size, generator=generator)
    with torch.no_grad():
        out = net.eval()(pixel_values=example, **extra)
    final = out.last_hidden_state
    patch = getattr(net.config, "patch_size", None)
    tokens = final.shape[1] - (spec.size // patch) ** 2 if final.dim() == 3 and isinstance(patch, int) else 0
    native = Native(
        features=lambda net, x: net(pixel_values=x, **extra).last_hidden_state,
        pooled=_pooling(net, final, getattr(out, "pooler_output", None)),
        tail=[name for name, _ in net.named_children()],
        prefix_tokens=max(0, tokens),
    )
    return TracedBackbone(net, native, block_groups(net), spec, provenance)


def _pooling(net: nn.Module, final: Tensor, expected: Tensor | None) -> Callable[[nn.Module, Tensor], Tensor]:
    """The way of pooling that gives what the network itself gives; else its class token, or plain averages."""

    def average(_: nn.Module, x: Tensor) -> Tensor:
        return x.mean((2, 3)) if x.dim() == 4 else x.mean(1)

    def token(_: nn.Module, x: Tensor) -> Tensor:
        return x[:, 0]

    def own(net: Any, x: Tensor) -> Tensor:
        return torch.flatten(net.pooler(x), 1)

    def normed(net: Any, x: Tensor) -> Tensor:
        return net.layernorm(average(net, x))

    if expected is not None:
        for way in (own, token, average, normed):
            try:
                with torch.no_grad():
                    found = way(net, final)
            except (AttributeError, TypeError, RuntimeError, IndexError):
                continue  # the network has no such part, or it takes another shape
            if found.shape == expected.flatten(1).shape and torch.allclose(found, expected.flatten(1), atol=1e-5):
                return way
    has_token = final.dim() == 3 and any("cls_token" in name for name, _ in net.named_parameters())
    return token if has_token else average


def _is_fixed(net: nn.Module, size: int) -> bool:
    """Whether positions were learnt for one size and the network does not resample them; found by trying."""
    learnt = any("position_embeddings" in name for name, _ in net.named_parameters())
    if not learnt or _interpolates(net):
        return False
    larger = size + getattr(net.config, "patch_size", 32)
    try:
        with torch.no_grad():
            net.eval()(pixel_values=torch.zeros(1, 3, larger, larger))
    except (ValueError, RuntimeError):
        return True
    return False


def _interpolates(net: nn.Module) -> bool:
    return "interpolate_pos_encoding" in inspect.signature(net.forward).parameters
