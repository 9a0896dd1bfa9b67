"""Which checkpoint belongs to which variant of SAM2.1, and where it lies."""

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from lamm_pipeline.errors import InputError
from lamm_pipeline.segmentation.settings import Variant


@dataclass(frozen=True)
class Checkpoint:
    """Names of one model: the configuration in the package `sam2`, the checkpoint's file, the repository on the Hugging Face hub."""

    config: str
    file: str
    hub_id: str


CHECKPOINTS = {
    Variant.tiny: Checkpoint("configs/sam2.1/sam2.1_hiera_t.yaml", "sam2.1_hiera_tiny.pt", "facebook/sam2.1-hiera-tiny"),
    Variant.small: Checkpoint("configs/sam2.1/sam2.1_hiera_s.yaml", "sam2.1_hiera_small.pt", "facebook/sam2.1-hiera-small"),
    Variant.base: Checkpoint("configs/sam2.1/sam2.1_hiera_b+.yaml", "sam2.1_hiera_base_plus.pt", "facebook/sam2.1-hiera-base-plus"),
    Variant.large: Checkpoint("configs/sam2.1/sam2.1_hiera_l.yaml", "sam2.1_hiera_large.pt", "facebook/sam2.1-hiera-large"),
}


def find_weights(variant: Variant, weights: str | None) -> Path:
    """The checkpoint file of a variant.

    Args:
        variant: of the model.
        weights: the file, the folder it lies in, or its id on the Hugging Face hub, from where it is fetched once.

    Raises:
        InputError: nothing is given, nothing is there, or the id is another variant's.
    """
    wanted = CHECKPOINTS[variant]
    if weights is None:
        raise InputError(
            f"The back end 'sam2' needs the weights of the variant {variant.value!r}: set `weights` to the file {wanted.file}, to its "
            f"folder, or to {wanted.hub_id} to fetch it from the Hugging Face hub."
        )
    path = Path(weights).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        if not (path / wanted.file).is_file():
            raise InputError(f"The folder {path} has no {wanted.file}, the weights of the variant {variant.value!r}; put the file there.")
        return path / wanted.file
    if weights in {each.hub_id for each in CHECKPOINTS.values()}:
        return _from_hub(variant, weights)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", weights) and not path.suffix:
        known = ", ".join(each.hub_id for each in CHECKPOINTS.values())
        raise InputError(f"The weights {weights!r} are no file, no folder and none of the ids {known}.")
    raise InputError(f"The weights {path} do not exist; set `weights` to {wanted.file} or the folder it lies in.")


def _from_hub(variant: Variant, hub_id: str) -> Path:
    wanted = CHECKPOINTS[variant]
    if hub_id != wanted.hub_id:
        raise InputError(
            f"The weights {hub_id} are not those of the variant {variant.value!r}, which are {wanted.hub_id}; change one of them."
        )
    if importlib.util.find_spec("huggingface_hub") is None:
        raise InputError(
            f"Fetching {hub_id} needs huggingface_hub, which this installation lacks; install the extra: pip install "
            f"'lamm-pipeline[sam2]', or set `weights` to a file {wanted.file}."
        )
    from huggingface_hub import hf_hub_download  # noqa: PLC0415 - of the extra

    return Path(hf_hub_download(repo_id=hub_id, filename=wanted.file))
