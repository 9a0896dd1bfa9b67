"""The manifest of a dataset version: which recordings with which artifact versions, which filters, which split. Immutable.

    <root>/datasets/<name>.v<N>/version.json

`N` counts per name and is never used twice. A change of content is a new version; titles and descriptions that people edit later live in
the catalog, the manifest keeps those it was created with.
"""

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, ValidationError, model_serializer

from lamm_pipeline.datasets.hard_cases import HardCaseFrames
from lamm_pipeline.datasets.settings import DatasetSettings
from lamm_pipeline.errors import InputError
from lamm_pipeline.imports import planning
from lamm_pipeline.ontology.ontology import Ontology
from lamm_pipeline.storage.atomic import Json, digest_json, write_json

MANIFEST = "version.json"
MAX_NAME = 80
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "lamm-pipeline.datasets")

_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{MAX_NAME - 1}}}")
_KEY = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9_-]*)\.v(?P<number>[1-9][0-9]*)")
_FROZEN = ConfigDict(frozen=True, extra="forbid")


class ArtifactVersions(BaseModel):
    """Versions of one recording's artifacts; None where the recording has none (no calibration, no boxes, no hashes, never curated)."""

    model_config = _FROZEN

    frames: str
    detections: str
    boxes_3d: str | None = None
    tracks: str | None = None
    diversity_metrics: str | None = None
    selection: str | None = None


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

    def reference(self, asset: str) -> str:
        """Reference of one of its artifacts, `recordings/<recording>/<asset>/<version>`."""
        return f"recordings/{self.recording}/{asset}/{getattr(self.artifacts, asset)}"


class ImportInputs(BaseModel):
    """One import of a version, pinned.

    Attributes:
        key: of the import, a partition of `annotation_exports`.
        recording: key of the video that it is of; frames of several imports of one video are merged.
        artifact: version of `annotation_export`.
        source: the ZIP.
    """

    model_config = _FROZEN

    key: str
    recording: str
    artifact: str
    source: SourceFile

    @property
    def reference(self) -> str:
        """Reference of its artifact."""
        return f"{planning.SCOPE}/{self.key}/{planning.ASSET}/{self.artifact}"


class PreviousSplit(BaseModel):
    """The split whose frames keep their place.

    Attributes:
        version: key of the dataset version it is of.
        artifact: version of its `splits`.
    """

    model_config = _FROZEN

    version: str
    artifact: str


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
        imports: in the order in which they were added; where several have a frame, that decides which is taken.
        extra_classes: labels of imports that the ontology lacks; their category ids follow the ontology's, in this order.
        previous_split: None where the frames of no earlier version have to keep their place.
        hard_cases: the frames that the version is limited to; None, and not in the file, where it is not.
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
    imports: tuple[ImportInputs, ...] = ()
    extra_classes: tuple[str, ...] = ()
    previous_split: PreviousSplit | None = None
    settings: DatasetSettings
    hard_cases: HardCaseFrames | None = None

    @model_serializer(mode="wrap")
    def _without_what_was_never_asked_for(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Versions without hard cases are written, and have the digest, that they had before there were any."""
        content: dict[str, Any] = serialize(self)
        if content.get("hard_cases") is None:
            content.pop("hard_cases", None)
        return content

    @property
    def key(self) -> str:
        """Partition key, `<name>.v<N>`."""
        return version_key(self.name, self.number)

    @property
    def content_digest(self) -> str:
        """Hex SHA-256 of everything that decides the content: not the name, the number, the texts, who made it when, or where files lie.

        Of hard cases the condition and the frames decide, not the table that they were taken from.
        """
        places: dict[str, Any] = {name: {"__all__": {"source": {"path"}}} for name in ("recordings", "imports")}
        places["hard_cases"] = {"ranking"}
        content = {"ontology_digest", "recordings", "imports", "extra_classes", "previous_split", "settings", "hard_cases"}
        return digest_json(self.model_dump(mode="json", include=content, exclude=places))

    @property
    def references(self) -> list[str]:
        """References of all artifacts that the version is made of."""
        made = [each.reference(asset) for each in self.recordings for asset, version in each.artifacts if version is not None]
        made += [each.reference for each in self.imports]
        made += [] if self.hard_cases is None else [self.hard_cases.ranking]
        previous = self.previous_split
        return made if previous is None else [*made, f"datasets/{previous.version}/splits/{previous.artifact}"]

    @property
    def members(self) -> list[str]:
        """Keys of the recordings and of the videos that imports are of, sorted."""
        return sorted({each.recording for each in self.recordings} | {each.recording for each in self.imports})


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
    imports: Sequence[ImportInputs] = (),
    extra_classes: Sequence[str] = (),
    previous_split: PreviousSplit | None = None,
    hard_cases: HardCaseFrames | None = None,
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
        imports: in the order in which they were added.
        extra_classes: labels of the imports that the ontology lacks.
        previous_split: the split whose frames keep their place.
        hard_cases: the frames that it is limited to.
        source_job_id: the run or backfill that creates it.
        title: for people.
        description: for people.
        taken: numbers the catalog knows for this name, those of deleted versions too; they are not used again.

    Raises:
        InputError: the name, the recordings or the filters cannot be used.
    """
    check_name(name)
    pinned = _check_members(name, recordings, imports, settings)
    ontology.select({*settings.filters.include_classes, *settings.filters.excluded_classes} - set(extra_classes))
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
        imports=tuple(imports),
        extra_classes=tuple(extra_classes),
        previous_split=previous_split,
        settings=settings,
        hard_cases=hard_cases,
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


def _check_members(
    name: str, recordings: Sequence[RecordingInputs], imports: Sequence[ImportInputs], settings: DatasetSettings
) -> tuple[RecordingInputs, ...]:
    if not recordings and not imports:
        raise InputError(f"Dataset {name!r} would have no recordings and no imports. Name at least one.")
    if len({each.key for each in imports}) != len(imports):
        raise InputError(f"Dataset {name!r} names an import twice. Name each once.")
    if imports and settings.filters.min_track_length > 1 and not recordings:
        raise InputError("Imports have no lengths of tracks, so min_track_length cannot be applied. Set it to 1.")
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
