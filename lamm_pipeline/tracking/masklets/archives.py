"""The archives of masklets: `video_segments.npz` by frame and `object_segments.npz` by object (section 4.5 of the specification).

Despite their extension they are ZIP files of JSON, not archives of NumPy. The one by frame has an entry for each frame and, last, a
`manifest.json`; the one by object has only a manifest, which says in which entries of the other an object is. Both are written in one
pass, and equal content gives equal bytes: entries have a fixed date.
"""

import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry import packed_mask
from lamm_pipeline.geometry.packed_mask import PackedMask

MANIFEST = "manifest.json"
_FIXED_DATE = (1980, 1, 1, 0, 0, 0)
_READABLE = 0o644 << 16


def archive_name(stem: str, mask_scale_ratio: float) -> str:
    """File name of an archive; masks that were made smaller show in it: `video_segments_scale0.3x.npz`."""
    if mask_scale_ratio >= 1.0:
        return f"{stem}.npz"
    ratio = f"{mask_scale_ratio:.3f}".rstrip("0").rstrip(".")
    return f"{stem}_scale{ratio}x.npz"


def frame_entry(frame_index: int) -> str:
    """Name of a frame's entry."""
    return f"frames/frame_{frame_index:06d}.json"


class VideoArchiveWriter:
    """Writes the archive by frame, one frame at a time. A context manager: without its end there is no file.

    Args:
        path: of the archive; its name is the caller's, see `archive_name`.
        meta: what the manifest says besides the ratio, such as the level.
        mask_scale_ratio: of the masks that will be added.
    """

    def __init__(self, path: Path, *, meta: Mapping[str, Any], mask_scale_ratio: float) -> None:
        self._path = path
        self._meta = {**meta, "mask_scale_ratio": float(mask_scale_ratio)}
        self._frames: list[bytes] = []
        self._last = -1
        path.parent.mkdir(parents=True, exist_ok=True)
        self._zip = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            meta = json.dumps(self._meta, ensure_ascii=False).encode()
            _write(self._zip, MANIFEST, b'{"meta": %b, "frames": [%b]}' % (meta, b", ".join(self._frames)))
        self._zip.close()
        if kind is not None:
            self._path.unlink()

    def add(self, frame_index: int, frame_name: str, objects: Mapping[int, PackedMask]) -> None:
        """Add a frame.

        Args:
            frame_index: in the recording; larger than that of the frame before.
            frame_name: file name of its image.
            objects: packed masks by object id.

        Raises:
            ValueError: the frame does not follow the one before.
        """
        if frame_index <= self._last:
            raise ValueError(
                f"Frame {frame_index} was added to {self._path} after frame {self._last}; frames are added in ascending order."
            )
        self._last = frame_index
        entry, ids = frame_entry(frame_index), sorted(objects)
        masks = {str(number): packed_mask.to_json(objects[number]) for number in ids}
        _write(self._zip, entry, _encoded({"frame_index": frame_index, "frame_name": frame_name, "objects": masks}))
        listed = {"frame_index": frame_index, "frame_name": frame_name, "entry": entry, "objects": [str(number) for number in ids]}
        self._frames.append(_encoded(listed))


def write_object_archive(
    path: Path,
    object_frames: Mapping[int, Sequence[int]],
    *,
    level: int,
    linked_video: str,
    mask_scale_ratio: float,
    meta: Mapping[str, Any] | None = None,
) -> None:
    """Write the archive by object.

    Args:
        path: of the archive.
        object_frames: frame indices by object id.
        level: of the candidates that the objects come from.
        linked_video: file name of the archive by frame.
        mask_scale_ratio: of the masks in it.
        meta: what the manifest says besides.
    """
    objects = {
        str(number): [{"frame_index": index, "frame_entry": frame_entry(index)} for index in sorted(object_frames[number])]
        for number in sorted(object_frames)
    }
    told = {**(meta or {}), "level": level, "linked_video": linked_video, "mask_scale_ratio": float(mask_scale_ratio)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        _write(archive, MANIFEST, _encoded({"meta": told, "objects": objects}))


def read_video_archive(path: Path) -> Iterator[tuple[int, str, dict[int, PackedMask]]]:
    """Stream the frames of an archive by frame, in the order of its manifest.

    Yields:
        Frame index, frame name, packed masks by object id.

    Raises:
        InputError: the file is missing, damaged or of another kind.
    """
    with _open(path) as archive:
        for listed in _manifest(archive, path, "frames", list):
            frame = _json(archive, str(listed["entry"]), path)
            objects = {int(number): packed_mask.from_json(value) for number, value in (frame.get("objects") or {}).items()}
            yield int(frame["frame_index"]), str(frame.get("frame_name") or listed.get("frame_name") or ""), objects


@dataclass(frozen=True)
class ObjectArchive:
    """Content of an archive by object.

    Attributes:
        meta: level, name of the archive by frame, ratio, and what else is said.
        frames: frame indices by object id.
    """

    meta: dict[str, Any]
    frames: dict[int, list[int]]


def read_object_archive(path: Path) -> ObjectArchive:
    """Read an archive by object.

    Raises:
        InputError: the file is missing, damaged or of another kind.
    """
    with _open(path) as archive:
        objects = _manifest(archive, path, "objects", dict)
        frames = {int(number): [int(each["frame_index"]) for each in listed] for number, listed in objects.items()}
        return ObjectArchive(_json(archive, MANIFEST, path).get("meta") or {}, frames)


def read_meta(path: Path) -> dict[str, Any]:
    """What an archive of either kind says about itself, `mask_scale_ratio` among it.

    Raises:
        InputError: the file is missing or damaged.
    """
    with _open(path) as archive:
        return dict(_json(archive, MANIFEST, path).get("meta") or {})


def _write(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, _FIXED_DATE)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = _READABLE
    entry.create_system = 3  # as on Linux, wherever it is written
    archive.writestr(entry, content)


def _encoded(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


@contextmanager
def _open(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive; whatever is wrong in it, while it is read too, becomes a sentence."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except FileNotFoundError:
        raise InputError(f"The archive {path} does not exist; run the stage that writes it.") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"The archive {path} is damaged or of another kind ({error}); restore it or run its stage again.") from error
    except InputError as error:
        raise InputError(f"The archive {path} cannot be used: {error}") from error


def _manifest(archive: zipfile.ZipFile, path: Path, key: str, kind: type) -> Any:
    value = _json(archive, MANIFEST, path).get(key)
    if not isinstance(value, kind):
        raise InputError(f"its manifest has no {key!r}; it is an archive of another kind.")
    return value


def _json(archive: zipfile.ZipFile, name: str, path: Path) -> dict[str, Any]:
    try:
        value = json.loads(archive.read(name))
    except KeyError:
        raise InputError(f"its entry {name!r} is missing; restore {path.name} or run its stage again.") from None
    if not isinstance(value, dict):
        raise InputError(f"its entry {name!r} holds no JSON object; restore {path.name} or run its stage again.")
    return value
