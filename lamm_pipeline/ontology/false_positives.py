"""The words for what a false alarm is instead: `false_positives.yaml` beside this file, or a user's own in the same form."""

import re
from importlib import resources
from pathlib import Path

import yaml

from lamm_pipeline.errors import InputError

KEY = "false_positive_types"


def load_false_positive_types(path: Path | None = None) -> tuple[str, ...]:
    """Read and check the words.

    Args:
        path: YAML file; None means the one that comes with the package.

    Returns:
        The words in the file's order.

    Raises:
        InputError: the file is missing, or is no list of different words.
    """
    if path is not None and not path.is_file():
        raise InputError(f"The false-positive types {path} do not exist; give the path of a YAML file with a list `{KEY}`.")
    source = resources.files(__package__).joinpath("false_positives.yaml") if path is None else path
    try:
        document = yaml.safe_load(source.read_bytes())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"The false-positive types {source} are not valid YAML: {error}") from error
    words = document.get(KEY) if isinstance(document, dict) else None
    if not isinstance(words, list) or not words:
        raise InputError(f"{source} has no list `{KEY}` with at least one word.")
    wrong = [each for each in words if not isinstance(each, str) or not re.fullmatch(r"[a-z][a-z0-9_]{0,49}", each)]
    if wrong:
        raise InputError(f"{source}: {wrong[0]!r} is no word of small letters, digits and underscores that starts with a letter.")
    if len(set(words)) < len(words):
        raise InputError(f"{source} has a word twice; keep one of them.")
    return tuple(words)
