"""The card of a Hugging Face dataset: `README.md` with what the Hub reads on top and what people want to know below."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamm_pipeline.datasets.classes import VersionClasses
from lamm_pipeline.datasets.splits.split_frames import SPLITS
from lamm_pipeline.datasets.versions import VersionManifest
from lamm_pipeline.storage.atomic import write_text

if TYPE_CHECKING:
    from datasets import Features

SPLIT_NAMES = {"train": "train", "val": "validation", "test": "test"}
"""What Hugging Face calls our splits."""

TASKS = ["object-detection", "image-segmentation", "visual-question-answering"]
MOST_LISTED = 10
BACKSLASH = "\\"
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_LARGEST = "1M<n<10M"

_COLUMNS = {
    "image": "the frame, with the bytes of the original file",
    "conversations": "questions and answers about it: `from` is `human` or `gpt`; the first question begins with `<image>`",
    "masks": "COCO's compressed runs, `size` (rows, columns) and `counts`; null where an object has no usable mask",
    "bounding_boxes": "x, y, width, height in pixels",
    "category": "class of each object",
    "classes": "the different classes in the frame",
    "detection_ids": "id of each annotation",
    "track_ids": "identity of each object within its recording; null without a track",
    "scores": "0 to 1; null where nobody gave one",
    "boxes_3d": "height, width, length, x, y, z (metres; bottom centre; x right, y down, z forward), rotation about y (radians), "
    "the order of a KITTI label; null without a 3D box",
    "frame_id": "`<recording>:<frame index>`, unique",
    "recording": "recording or video that the frame is of",
    "frame_index": "its place there",
    "timestamp_ns": "since 1970, or since the video's start; null when unknown",
    "width": "pixels",
    "height": "pixels",
    "state": "`kept`; `reviewed_empty`: a person says that nothing is there; `unlabelled`: nothing was found",
}

_LOAD_EMBEDDED = """from datasets import load_from_disk

splits = load_from_disk("huggingface")"""

_LOAD_REFERENCED = """from pathlib import Path

from datasets import Image, load_from_disk

folder = Path("huggingface").resolve()
splits = load_from_disk(str(folder))
for name, split in splits.items():
    paths = [str(folder / each["path"]) for each in split.cast_column("image", Image(decode=False))["image"]]
    splits[name] = split.remove_columns("image").add_column("image", paths).cast_column("image", Image())"""

_REFERENCED = (
    "The images lie in `images/`, and the rows name them relative to this folder. `Image()` looks for such paths in the current directory; "
    "the lines above make them absolute, wherever the folder lies."
)


@dataclass
class Statistics:
    """Counts of a dataset by split (`train`, `val`, `test`).

    Attributes:
        frames: by split.
        negatives: frames without objects, by split.
        recordings: the frames of each recording, by split.
        classes: the annotations of each class id, by split.
        bytes: of the rows' files, by split.
    """

    frames: Counter[str] = field(default_factory=Counter)
    negatives: Counter[str] = field(default_factory=Counter)
    recordings: dict[str, Counter[str]] = field(default_factory=lambda: {split: Counter() for split in SPLITS})
    classes: dict[str, Counter[str]] = field(default_factory=lambda: {split: Counter() for split in SPLITS})
    bytes: Counter[str] = field(default_factory=Counter)

    def add(self, entry: Mapping[str, Any]) -> None:
        """Count a frame.

        Args:
            entry: its `split`, its `recording`, and how many annotations it has of each of its `classes`.
        """
        split = entry["split"]
        self.frames[split] += 1
        self.negatives[split] += not entry["classes"]
        self.recordings[split][entry["recording"]] += 1
        self.classes[split].update(entry["classes"])


def write_card(
    path: Path, manifest: VersionManifest, classes: VersionClasses, features: "Features", statistics: Statistics, *, embedded: bool
) -> None:
    """Write the card of a dataset.

    Args:
        path: of the `README.md`.
        manifest: the version.
        classes: of the version.
        features: the columns.
        statistics: of what was written.
        embedded: whether the rows hold the images.
    """
    splits = [split for split in SPLITS if statistics.frames[split]]
    text = "\n\n".join(
        [
            f"---\n{_front_matter(manifest, features, statistics, splits)}\n---",
            f"# {manifest.title or manifest.key}",
            *([manifest.description] if manifest.description else []),
            "## Loading",
            f"```python\n{_LOAD_EMBEDDED if embedded else _LOAD_REFERENCED}\n```",
            *([] if embedded else [_REFERENCED]),
            "## Columns",
            "One row a frame. Lists about objects have the same order and the same length.",
            _table(["column", "content"], _COLUMNS.items()),
            "## Splits",
            _table(
                ["split", "frames", "without objects", "annotations", "recordings"],
                (
                    [
                        SPLIT_NAMES[split],
                        statistics.frames[split],
                        statistics.negatives[split],
                        statistics.classes[split].total(),
                        len(statistics.recordings[split]),
                    ]
                    for split in splits
                ),
            ),
            "## Classes",
            _table(
                ["number", "class", "name", *(SPLIT_NAMES[split] for split in splits)],
                (
                    [number, known.id, known.name, *(statistics.classes[split][known.id] for split in splits)]
                    for number, known in enumerate(classes.all)
                    if any(statistics.classes[split][known.id] for split in splits)
                ),
            ),
            "## Where it comes from",
            _origin(manifest),
            _table(["recording", "file", "SHA-256", *(SPLIT_NAMES[split] for split in splits)], _sources(manifest, statistics, splits)),
        ]
    )
    write_text(path, text + "\n")


def _front_matter(manifest: VersionManifest, features: "Features", statistics: Statistics, splits: list[str]) -> str:
    from datasets import DatasetInfo, SplitDict, SplitInfo
    from datasets.info import DatasetInfosDict
    from huggingface_hub import DatasetCardData  # noqa: PLC0415  loads an HTTP client

    total = statistics.frames.total()
    data = DatasetCardData(
        pretty_name=manifest.title or manifest.key,
        task_categories=TASKS,
        size_categories=[next((name for bound, name in _SIZES if total < bound), _LARGEST)],
        tags=["lamm-pipeline", "instance-segmentation", "3d-object-detection", "multi-object-tracking"],
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": SPLIT_NAMES[split], "path": f"{SPLIT_NAMES[split]}/*.arrow"} for split in splits],
            }
        ],
    )
    written = SplitDict()
    for split in splits:
        written.add(SplitInfo(SPLIT_NAMES[split], num_bytes=statistics.bytes[split], num_examples=statistics.frames[split]))
    info = DatasetInfo(features=features, splits=written, dataset_size=statistics.bytes.total())
    DatasetInfosDict({"default": info}).to_dataset_card_data(data)
    return data.to_yaml(line_break="\n")


def _origin(manifest: VersionManifest) -> str:
    settings = manifest.settings
    chosen = settings.filters.model_dump(mode="json", exclude_defaults=True)
    filters = ", ".join(f"`{name}` = `{_short(value)}`" for name, value in chosen.items()) or "none but the defaults"
    split = settings.split
    ratios = " / ".join(f"{ratio:g}" for ratio in split.ratios.values())
    return "\n".join(
        [
            f"- version `{manifest.key}`, created {manifest.created_at} by {manifest.created_by}",
            f"- content `{manifest.content_digest}`, classes `{manifest.ontology_digest}`",
            f"- filters: {filters}",
            f"- split: strategy `{split.strategy}`, ratios {ratios}, seed {split.seed}",
        ]
    )


def _sources(manifest: VersionManifest, statistics: Statistics, splits: list[str]) -> Iterable[list[Any]]:
    sources = [(each.recording, each.source) for each in manifest.recordings]
    sources += [(each.recording, each.source) for each in manifest.imports]
    for recording, source in sources:
        frames = [statistics.recordings[split][recording] for split in splits]
        yield [recording, Path(source.path).name, f"`{source.digest[:16]}`", *frames]


def _short(value: Any) -> str:
    """A setting; of a long list only how long it is."""
    return f"{len(value)} ids" if isinstance(value, list) and len(value) > MOST_LISTED else str(value)


def _table(header: list[str], rows: Iterable[Iterable[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(' '.join(str(cell).split()).replace('|', BACKSLASH + '|') for cell in line)} |" for line in lines)
