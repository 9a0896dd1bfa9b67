"""Where a network runs and in which numbers. torch is imported inside functions only."""

import contextlib
from collections.abc import Iterator
from typing import Any

from lamm_pipeline.errors import InputError
from lamm_pipeline.settings import Settings


def resolve_device(wanted: str | None = None) -> str:
    """`cpu`, or `cuda` when there is one.

    Args:
        wanted: one of the two; None means what `LAMM_DEVICE` says.

    Raises:
        InputError: `cuda` is wanted and torch finds none.
    """
    device = Settings.from_environment().device if wanted is None else wanted
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise InputError("LAMM_DEVICE is 'cuda', but torch finds no CUDA device; set LAMM_DEVICE to 'cpu' or mend the driver.")
    return device


def number_format(device: str) -> str:
    """Name of the floating point numbers that a network computes with on a device."""
    return "bfloat16" if device == "cuda" else "float32"


@contextlib.contextmanager
def inference(device: str) -> Iterator[None]:
    """Inside, networks compute without gradients and in the device's number format."""
    import torch

    half_precision = torch.autocast("cuda", dtype=torch.bfloat16) if device == "cuda" else contextlib.nullcontext()
    with torch.inference_mode(), half_precision:
        yield


def compile_forward(module: Any) -> None:
    """Have torch.compile translate a part of a network when it first runs. The weights may be loaded before or after.

    Args:
        module: a `torch.nn.Module` that is always given tensors of the same shapes, batch aside.
    """
    import torch

    module.forward = torch.compile(module.forward)


@contextlib.contextmanager
def compiler_errors() -> Iterator[None]:
    """Turn what torch.compile cannot do here into a sentence.

    Raises:
        InputError: the compiler that torch.compile needs is missing or fails.
    """
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        raise InputError(
            "torch.compile failed on this machine; set `compile_model` to false, or install what it needs (a C++ compiler on a CPU, Triton "
            f"on a GPU). It says: {str(error).strip().splitlines()[0]}"
        ) from error
