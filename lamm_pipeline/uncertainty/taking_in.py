"""Taking evaluations in: a folder of predictions becomes known to the catalog, and stays where it lies."""

from dataclasses import dataclass
from pathlib import Path

from lamm_pipeline.catalog.catalog import Catalog
from lamm_pipeline.catalog.models import EvaluationRecording, EvaluationRow, now
from lamm_pipeline.errors import InputError
from lamm_pipeline.uncertainty import evaluation_files
from lamm_pipeline.uncertainty.labels import read_class_map

MAX_KEY = 100


@dataclass(frozen=True)
class Added:
    """What became of an evaluation.

    Attributes:
        id: of the evaluation.
        status: `new`, `changed`, or `unchanged`.
        recordings: that it predicts for, with their numbers of frames.
    """

    id: str
    status: str
    recordings: dict[str, int]


def evaluation_folders(folder: Path) -> list[Path]:
    """The folder itself, or the folders in it that are evaluations.

    Raises:
        InputError: there is none.
    """
    if (folder / evaluation_files.FILE_NAME).is_file() or not folder.is_dir():
        return [folder]
    found = sorted(path.parent for path in folder.glob(f"*/{evaluation_files.FILE_NAME}"))
    if not found:
        raise InputError(
            f"Neither {folder} nor a folder in it has an {evaluation_files.FILE_NAME}. docs/uncertainty.md describes the format."
        )
    return found


def add_evaluation(
    catalog: Catalog, folder: Path, actor: str, *, labels_folder: Path | None = None, class_map: Path | None = None
) -> Added:
    """Take in an evaluation, or what has changed in one that is known.

    Args:
        catalog: where it becomes known.
        folder: with `evaluation.json`.
        actor: who does it.
        labels_folder: SemanticKITTI labels `<recording>/<index:06d>.label`; None leaves what was said before.
        class_map: names of their numbers.

    Raises:
        InputError: it is no evaluation, has no predictions, or its id is that of another one.
    """
    folder = folder.expanduser().resolve()
    evaluation = evaluation_files.read_evaluation(folder)
    before = catalog.evaluations.find(evaluation.id)
    if before is not None and before.path != str(folder) and (Path(before.path) / evaluation_files.FILE_NAME).exists():
        raise InputError(f"There is an evaluation {evaluation.id!r} already, in {before.path}. Give this one another `id`.")
    there = catalog.evaluations.at(str(folder))
    if there is not None and there.id != evaluation.id:
        raise InputError(f"{folder} was taken in as {there.id!r} and says {evaluation.id!r} now. Put a new evaluation into a new folder.")
    labels, names = _labels(before, labels_folder, class_map)
    known = {each.recording: each for each in catalog.evaluations.recordings(evaluation.id)}
    parts = []
    for recording in evaluation_files.recordings_of(folder):
        if len(recording) > MAX_KEY:
            raise InputError(
                f"{folder / recording} is named after no recording: keys have at most {MAX_KEY} characters. Rename the folder."
            )
        stamp = evaluation_files.stamp(folder, recording)
        digest = known[recording].digest if recording in known and known[recording].stamp == stamp else None
        frames = len(evaluation_files.frame_files(folder / recording))
        parts.append(EvaluationRecording(evaluation=evaluation.id, recording=recording, frames=frames, stamp=stamp, digest=digest))
    if not parts:
        raise InputError(f"{folder} has no predictions: there is no <recording>/<frame index, 6 digits>.npz or .parquet in it.")
    stamps = {part.recording: part.stamp for part in parts}
    same = before is not None and (before.path, before.labels_folder, before.class_map) == (str(folder), labels, names)
    found = Added(evaluation.id, "new", {part.recording: part.frames for part in parts})
    if same and stamps == {name: each.stamp for name, each in known.items()}:
        return Added(found.id, "unchanged", found.recordings)
    row = EvaluationRow(
        id=evaluation.id,
        model_id=evaluation.model_id,
        path=str(folder),
        classes=list(evaluation.classes),
        members=evaluation.members,
        foreground=list(evaluation.foreground),
        created_at=evaluation.created,
        note=evaluation.note,
        labels_folder=labels,
        class_map=names,
        added_at=now() if before is None else before.added_at,
        added_by=actor if before is None else before.added_by,
    )
    catalog.evaluations.put(row, parts, actor, "evaluation.add" if before is None else "evaluation.change")
    return found if before is None else Added(found.id, "changed", found.recordings)


def _labels(before: EvaluationRow | None, folder: Path | None, class_map: Path | None) -> tuple[str | None, str | None]:
    """Label folder and class map, as given or as before."""
    if (folder is None) != (class_map is None):
        raise InputError("Labels need both: the folder with <recording>/<index>.label files, and a class map that names their numbers.")
    if folder is None or class_map is None:
        return (None, None) if before is None else (before.labels_folder, before.class_map)
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder. Give the one with <recording>/<frame index, 6 digits>.label files.")
    read_class_map(class_map)
    return str(folder.expanduser().resolve()), str(class_map.expanduser().resolve())
