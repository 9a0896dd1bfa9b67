"""Where the files of a SAM3 model lie, in the form of transformers, and whether they are all there."""

import hashlib
import importlib.util
import json
import re
from pathlib import Path

from lamm_pipeline.errors import InputError
from lamm_pipeline.storage.atomic import sha256_file

HUB_ID = "facebook/sam3"
PATTERNS = ("*.json", "*.txt", "*.safetensors")
MODEL_TYPES = ("sam3", "sam3_video")
"""What `config.json` may say; the second one contains the first."""
NEEDED = (
    ("config.json",),
    ("model.safetensors", "model.safetensors.index.json"),
    ("processor_config.json", "preprocessor_config.json"),
    ("tokenizer.json", "vocab.json"),
)
"""Of each group one file must be there."""


def find_folder(weights: str | None) -> Path:
    """The folder of a model.

    Args:
        weights: the folder, or an id on the Hugging Face hub, from where it is fetched once.

    Raises:
        InputError: nothing is given, nothing is there, a file is missing, or it is not a SAM3 model.
    """
    if weights is None:
        raise InputError(
            "The back end 'sam3' needs weights: set `weights` to the folder that holds config.json and model.safetensors, or to "
            f"{HUB_ID} to fetch them from the Hugging Face hub, where Meta's SAM licence must be accepted first."
        )
    path = Path(weights).expanduser()
    if path.is_file():
        raise InputError(
            f"The weights {path} are a file; the back end 'sam3' needs the folder that holds config.json and model.safetensors."
        )
    if not path.is_dir():
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", weights):
            raise InputError(f"The weights {path} do not exist; set `weights` to the folder of a SAM3 model, or to {HUB_ID}.")
        path = _from_hub(weights)
    for names in NEEDED:
        if not any((path / name).is_file() for name in names):
            raise InputError(f"The folder {path} has no {' or '.join(names)}, which a SAM3 model needs; fetch {HUB_ID} again, as a whole.")
    _check_json(path)
    return path


def digest_folder(folder: Path) -> str:
    """SHA-256 over the names and contents of all files that decide what a model does, hex.

    Args:
        folder: of the model.
    """
    digest = hashlib.sha256()
    for path in sorted(each for pattern in PATTERNS for each in folder.glob(pattern)):
        digest.update(f"{path.name}\0{sha256_file(path)}\n".encode())
    return digest.hexdigest()


def _check_json(folder: Path) -> None:
    for path in sorted(folder.glob("*.json")):
        try:
            content = json.loads(path.read_bytes())
        except ValueError as error:
            raise InputError(f"{path} is damaged: it is not JSON; fetch the model again.") from error
        if path.name == "config.json":
            model_type = content.get("model_type") if isinstance(content, dict) else None
            if model_type not in MODEL_TYPES:
                raise InputError(f"The model in {folder} is of the type {model_type!r} and not SAM3; change `weights` or `backend`.")


def _from_hub(hub_id: str) -> Path:
    if importlib.util.find_spec("huggingface_hub") is None:
        raise InputError(
            f"Fetching {hub_id} needs huggingface_hub, which this installation lacks; install the extra: pip install "
            "'lamm-pipeline[sam3]', or set `weights` to a folder."
        )
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - of the extra
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError  # noqa: PLC0415 - of the extra

    try:
        return Path(snapshot_download(repo_id=hub_id, allow_patterns=list(PATTERNS)))
    except GatedRepoError as error:
        raise InputError(
            f"{hub_id} is given only to those who accepted its licence: accept it at https://huggingface.co/{hub_id}, then log in with `hf "
            "auth login` or set HF_TOKEN."
        ) from error
    except RepositoryNotFoundError as error:
        raise InputError(
            f"The weights {hub_id!r} are no folder, and the Hugging Face hub has no such model; did you mean {HUB_ID}?"
        ) from error
