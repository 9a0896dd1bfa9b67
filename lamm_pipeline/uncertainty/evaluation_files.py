"""An evaluation as a folder: what a model (or an ensemble) predicts for the frames of recordings.

    <evaluation>/evaluation.json                       the evaluation: id, model, classes, members
    <evaluation>/<recording>/<frame index:06d>.npz     what it predicts for one frame, or .parquet
    <evaluation>/<recording>/recording.json            optional: the version of `frames` that it predicts for

The arrays of a frame are described in `predictions.py`.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lamm_pipeline.errors import InputError
from lamm_pipeline.storage.atomic import digest_json, sha256_file, write_json

FILE_NAME = "evaluation.json"
RECORDING_FILE = "recording.json"
SUFFIXES = (".npz", ".parquet")

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_FRAME = re.compile(r"\d{6,}")


@dataclass(frozen=True)
class Evaluation:
    """A model that was run over frames.

    Attributes:
        id: names it in files, tables and folders: letters, digits, `_`, `-`, `.`.
        model_id: of the model or the ensemble, as its makers call it.
        classes: names; a label or a probability with index i is that of the i-th.
        members: of the ensemble; None where predictions are of one model, or only the mean of the members is known.
        foreground: the classes whose points the foreground mean is over.
        created_at: when the model was run, ISO 8601 with time zone.
        note: for people.
    """

    id: str
    model_id: str
    classes: tuple[str, ...]
    members: int | None
    foreground: tuple[str, ...]
    created_at: str
    note: str = ""

    @property
    def foreground_indices(self) -> tuple[int, ...]:
        """Places of the foreground in `classes`."""
        return tuple(self.classes.index(name) for name in self.foreground)

    @property
    def created(self) -> datetime:
        """`created_at` as a moment, UTC."""
        return datetime.fromisoformat(self.created_at).astimezone(UTC)


def read_evaluation(folder: Path) -> Evaluation:
    """Read and check `evaluation.json`.

    Raises:
        InputError: it is missing, or something in it is not as it should be.
    """
    path = folder / FILE_NAME
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{folder} is no evaluation: it has no {FILE_NAME}. docs/uncertainty.md describes the format.") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} is no JSON ({error}). Correct it and add the evaluation again.") from None
    if not isinstance(stored, dict):
        raise InputError(f"{path} is no JSON object. docs/uncertainty.md describes the format.")
    try:
        evaluation = Evaluation(
            id=_text(stored, "id"),
            model_id=_text(stored, "model_id"),
            classes=_names(stored, "classes"),
            members=_members(stored.get("members")),
            foreground=_names(stored, "foreground") if "foreground" in stored else (),
            created_at=_text(stored, "created_at"),
            note=str(stored.get("note", "")),
        )
        check_evaluation(evaluation)
    except ValueError as error:
        raise InputError(f"{path}: {error}. Correct it and add the evaluation again.") from None
    return evaluation


def write_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """Write `evaluation.json`; the folder may be there already if it is one of the same evaluation.

    Raises:
        InputError: the evaluation cannot be, or the folder has another one.
    """
    try:
        check_evaluation(evaluation)
    except ValueError as error:
        raise InputError(f"This is no evaluation that can be written: {error}.") from None
    if (folder / FILE_NAME).exists() and read_evaluation(folder) != evaluation:
        raise InputError(f"{folder} has another evaluation already. Write to a folder of its own, or remove that one first.")
    write_json(folder / FILE_NAME, asdict(evaluation))


def check_evaluation(evaluation: Evaluation) -> None:
    """Check what `evaluation.json` says.

    Raises:
        ValueError: something is wrong; the text says what.
    """
    if _ID.fullmatch(evaluation.id) is None or ".." in evaluation.id:
        raise ValueError(f"the id {evaluation.id!r} is to be letters, digits, '_', '-', '.', at most 100, beginning with a letter or digit")
    if len(evaluation.classes) < 2 or len(set(evaluation.classes)) < len(evaluation.classes):
        raise ValueError("`classes` are to be at least two different names")
    unknown = [name for name in evaluation.foreground if name not in evaluation.classes]
    if unknown:
        raise ValueError(f"`foreground` names {', '.join(unknown)}, which `classes` do not have")
    if evaluation.members is not None and evaluation.members < 1:
        raise ValueError(f"`members` is {evaluation.members}; it is to be a whole number from 1, or null")
    try:
        created = datetime.fromisoformat(evaluation.created_at)
    except ValueError:
        created = None
    if created is None or created.tzinfo is None:
        raise ValueError(f"`created_at` is {evaluation.created_at!r}; it is to be a time with zone, such as 2026-05-01T12:00:00+00:00")


def recordings_of(folder: Path) -> list[str]:
    """Names of the recordings that an evaluation predicts for, sorted."""
    return sorted(each.name for each in folder.iterdir() if each.is_dir() and not each.name.startswith(".") and frame_files(each))


def frame_files(folder: Path) -> list[tuple[int, Path]]:
    """Index and file of every frame that is predicted for, by index.

    Raises:
        InputError: a frame has two files.
    """
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix in SUFFIXES and _FRAME.fullmatch(path.stem) is not None:
            if int(path.stem) in found:
                raise InputError(f"{found[int(path.stem)]} and {path.name} are of one frame. Remove one of them.")
            found[int(path.stem)] = path
    return sorted(found.items())


def frames_version(folder: Path) -> str | None:
    """The version of `frames` that the predictions in a recording's folder are for; None where they do not say.

    Raises:
        InputError: what they say cannot be read.
    """
    path = folder / RECORDING_FILE
    if not path.is_file():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        named = stored["frames_version"]
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{path} is to be a JSON object with `frames_version` ({error!r}). Correct or remove it.") from None
    return None if named is None else str(named)


def stamp(folder: Path, recording: str) -> str:
    """Tells without reading them whether the predictions for a recording may have changed: names, sizes and times of the files."""
    states = [(path.name, path.stat()) for path in _all_files(folder, recording)]
    return digest_json([[name, state.st_size, state.st_mtime_ns] for name, state in states])


def content_digest(folder: Path, recording: str) -> str:
    """Digest of everything that decides the scores of a recording: the evaluation and all its files of the recording."""
    return digest_json([[path.name, sha256_file(path)] for path in _all_files(folder, recording)])


def _all_files(folder: Path, recording: str) -> Sequence[Path]:
    own = folder / recording
    also = [own / RECORDING_FILE] if (own / RECORDING_FILE).is_file() else []
    return [folder / FILE_NAME, *also, *(path for _, path in frame_files(own))]


def _text(stored: dict[str, Any], name: str) -> str:
    if not isinstance(stored.get(name), str) or not stored[name]:
        raise ValueError(f"`{name}` is to be a text")
    return str(stored[name])


def _names(stored: dict[str, Any], name: str) -> tuple[str, ...]:
    values = stored.get(name)
    if not isinstance(values, list) or not all(isinstance(each, str) and each for each in values):
        raise ValueError(f"`{name}` is to be a list of names")
    return tuple(values)


def _members(value: Any) -> int | None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise ValueError(f"`members` is {value!r}; it is to be a whole number from 1, or null")
    return value
