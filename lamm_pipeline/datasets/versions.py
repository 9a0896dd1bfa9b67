"""The manifest of a dataset version: which recordings with which artifact versions, which filters, which split. Immutable.

    <root>/datasets/<name>.v<N>/version.json

`N` counts per name and is never used twice. A change of content is a new version; titles and descriptions that people edit later live in
the catalog, the manifest keeps those it was created with.
"""

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, ValidationError, model_serializer

from lamm_pipeline.datasets.settings import DatasetSettings
from lamm_pipeline.errors import InputError
from lamm_pipeline.ontology.ontology import Ontology
from lamm_pipeline.storage.atomic import Json, digest_json, write_json

MANIFEST = "version.json"
MAX_NAME = 80
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "lamm-pipeline.datasets")

_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{MAX_NAME - 1}}}")
_KEY = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9_-]*)\.v(?P<number>[1-9][0-9]*)")
_FROZEN = ConfigDict(frozen=True, extra="forbid")


class ArtifactVersions(BaseModel):
    """Versions of one recording's artifacts; None where the recording has none (no calibration, no boxes, never curated)."""

    model_config = _FROZEN

    frames: str
    detections: str
    boxes_3d: str | None = None
    tracks: str | None = None
    selection: str | None = None

    @model_serializer(mode="wrap")
    def _as_before_there_were_selections(self, plain: SerializerFunctionWrapHandler) -> dict[str, str | None]:
        """Leave out a selection that there is not, so that versions made by filters alone keep their digest."""
        values: dict[str, str | None] = plain(self)
        return {name: value for name, value in values.items() if name != "selection" or value is not None}


class SourceFile(BaseModel):
    """The file a recording came from; `path` is where it was found, also when it was prepared somewhere else."""

    model_config = _FROZEN

    path: str
    digest: str
    size: int


class RecordingInputs(BaseModel):
    """One recording of a version, pinned."""

    model_config = _FROZEN

    recording: str
    artifacts: ArtifactVersions
    source: SourceFile


class VersionManifest(BaseModel):
    """The content of `version.json`.

    Attributes:
        name, number: the partition key is `<name>.v<number>`.
        title, description: as given when the version was created.
        created_at: ISO 8601 time.
        created_by: the actor.
        source_job_id: the run or backfill it was created by, None when there was none.
        ontology_digest: of the classes the version was created with; exports refuse others.
        recordings: sorted by key.
    """

    model_config = _FROZEN

    format_version: Literal[1] = 1
    name: str
    number: int
    title: str
    description: str
    created_at: str
    created_by: str
    source_job_id: str | None = None
    ontology_digest: str
    recordings: tuple[RecordingInputs, ...]
    settings: DatasetSettings

    @property
    def key(self) -> str:
        """Partition key, `<name>.v<N>`."""
        return version_key(self.name, self.number)

    @property
    def content_digest(self) -> str:
        """Hex SHA-256 of everything that decides the content: not the name, the number, the texts, who made it when, or where files lie."""
        places = {"recordings": {"__all__": {"source": {"path"}}}}
        return digest_json(self.model_dump(mode="json", include={"ontology_digest", "recordings", "settings"}, exclude=places))


def version_key(name: str, number: int) -> str:
    """Partition key of a version."""
    return f"{name}.v{number}"


def parse_key(key: str) -> tuple[str, int]:
    """Name and number of a partition key.

    Raises:
        InputError: it is no key of a dataset version.
    """
    match = _KEY.fullmatch(key)
    if match is None:
        raise InputError(f"{key!r} is no dataset version; versions are called <name>.v<N>, such as night_drives.v3.")
    return match["name"], int(match["number"])


def check_name(name: str) -> str:
    """Return `name` if a dataset may be called so.

    Raises:
        InputError: it may not.
    """
    if _NAME.fullmatch(name) is None:
        raise InputError(
            f"A dataset cannot be called {name!r}: use letters, digits, '-' and '_', starting with a letter or digit, "
            f"at most {MAX_NAME} characters, for example night_drives."
        )
    return name


def create_version(
    root: Path,
    name: str,
    *,
    recordings: Sequence[RecordingInputs],
    settings: DatasetSettings,
    ontology: Ontology,
    created_at: str,
    created_by: str,
    source_job_id: str | None = None,
    title: str = "",
    description: str = "",
    taken: Iterable[int] = (),
) -> VersionManifest:
    """Write the manifest of the next version of dataset `name`.

    Args:
        root: the root folder of all artifacts.
        name: of the dataset.
        recordings: in any order.
        settings: filters, split, formats.
        ontology: the classes the filters speak of and the exports will number.
        created_at: ISO 8601 time.
        created_by: the actor.
        source_job_id: the run or backfill that creates it.
        title: for people.
        description: for people.
        taken: numbers the catalog knows for this name, those of deleted versions too; they are not used again.

    Raises:
        InputError: the name, the recordings or the filters cannot be used.
    """
    check_name(name)
    pinned = _check_recordings(name, recordings, settings)
    ontology.select([*settings.filters.include_classes, *settings.filters.excluded_classes])
    number = next_number(root, name, taken)
    while True:
        folder = root / "datasets" / version_key(name, number)
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.mkdir()  # whoever makes the folder owns the number
            break
        except FileExistsError:
            number += 1
    version = VersionManifest(
        name=name,
        number=number,
        title=title,
        description=description,
        created_at=created_at,
        created_by=created_by,
        source_job_id=source_job_id,
        ontology_digest=ontology.digest,
        recordings=pinned,
        settings=settings,
    )
    write_version(folder, version)
    return version


def write_version(folder: Path, version: VersionManifest) -> None:
    """Write the manifest into the version's folder, once.

    Raises:
        InputError: there is one already.
    """
    path = folder / MANIFEST
    if path.exists():
        raise InputError(f"{path} exists already: dataset versions never change. Create a new version instead.")
    write_json(path, version.model_dump(mode="json"))


def read_version(root: Path, key: str) -> VersionManifest:
    """Read the manifest of a version.

    Raises:
        InputError: the key names no version, or its manifest is missing or damaged.
    """
    parse_key(key)
    path = root / "datasets" / key / MANIFEST
    try:
        version = VersionManifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise InputError(
            f"The dataset version {key!r} has no manifest ({path}). Create versions with the job create_dataset or "
            "`lamm dataset create`; a partition key added by hand is not enough."
        ) from None
    except ValidationError as error:
        raise InputError(f"{path} is not the manifest of a dataset version ({error.errors()[0]['msg']}). Restore the file.") from error
    if version.key != key:
        raise InputError(f"{path} is the manifest of {version.key!r}, not of {key!r}. Restore the file.")
    return version


def list_versions(root: Path, name: str | None = None) -> list[VersionManifest]:
    """All versions under `root` (of one dataset, when `name` is given), by name and number."""
    keys = [path.parent.name for path in (root / "datasets").glob(f"*/{MANIFEST}") if _KEY.fullmatch(path.parent.name)]
    wanted = sorted(parsed for parsed in map(parse_key, keys) if name in (None, parsed[0]))
    return [read_version(root, version_key(*parsed)) for parsed in wanted]


def next_number(root: Path, name: str, taken: Iterable[int] = ()) -> int:
    """The number the next version of `name` gets: one more than the highest ever used."""
    used = [int(match["number"]) for path in (root / "datasets").glob(f"{name}.v*") if (match := _KEY.fullmatch(path.name))]
    return max([0, *used, *taken]) + 1


def check_ontology(version: VersionManifest, ontology: Ontology) -> None:
    """Refuse classes other than those the version was created with.

    Raises:
        InputError: the ontology is another one.
    """
    if ontology.digest != version.ontology_digest:
        raise InputError(
            f"Dataset version {version.key!r} was created with another ontology ({version.ontology_digest[:12]}, now "
            f"{ontology.digest[:12]}). Use the old ontology file, or create a new version."
        )


def content_id(kind: str, content: Json) -> str:
    """UUID of some content: equal content of one kind has equal ids, everywhere and always."""
    return str(uuid.uuid5(NAMESPACE, f"{kind}:{digest_json(content)}"))


def _check_recordings(name: str, recordings: Sequence[RecordingInputs], settings: DatasetSettings) -> tuple[RecordingInputs, ...]:
    if not recordings:
        raise InputError(f"Dataset {name!r} would have no recordings. Name at least one.")
    pinned = tuple(sorted(recordings, key=lambda inputs: inputs.recording))
    seen: dict[str, str] = {}
    keys: Mapping[str, None] = dict.fromkeys(inputs.recording for inputs in pinned)
    if len(keys) != len(pinned):
        raise InputError(f"Dataset {name!r} names a recording twice. Name each once.")
    for inputs in pinned:
        twin = seen.setdefault(inputs.source.digest, inputs.recording)
        if twin != inputs.recording:
            raise InputError(
                f"The recordings {twin!r} and {inputs.recording!r} are the same file ({inputs.source.path}): "
                "copies could end up in train and test. Leave one of them out."
            )
        if settings.filters.min_track_length > 1 and inputs.artifacts.tracks is None:
            raise InputError(
                f"Recording {inputs.recording!r} has no tracks, so min_track_length = {settings.filters.min_track_length} cannot be "
                "applied. Track it first, leave it out, or set min_track_length to 1."
            )
    return pinned
