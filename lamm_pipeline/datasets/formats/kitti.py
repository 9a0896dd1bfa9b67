"""KITTI's object detection layout, one folder a split.

    kitti/train/image_2/000000.png      left image, rectified        (hard link; an import's JPEG is decoded into a PNG)
    kitti/train/image_3/000000.png      right image                  (hard link, include_right_images)
    kitti/train/velodyne/000000.bin     float32 x, y, z, intensity   (hard link, include_point_clouds)
    kitti/train/depth/000000.npy        float32 metres, NaN unknown  (hard link, include_depth; or .png: KITTI's 16 bits, 256 steps a metre)
    kitti/train/calib/000000.txt        P0..P3, R0_rect, Tr_velo_to_cam, Tr_imu_to_velo
    kitti/train/label_2/000000.txt      15 columns: ground truth, so no score
    kitti/train/masks/000000_0.png      mask of the label's first line, 0 and 255 (include_masks)
    kitti/ImageSets/train.txt           the numbers of the split
    kitti/frames.csv                    split, number, frame id and state of each frame, and what people corrected: `0:class+box` for
                                        class and box of its label's first line

Frames count from 000000 in each split. An object without a 3D box keeps its line, with what KITTI's development kit writes for unknown:
truncation and occlusion -1, alpha and rotation_y -10, dimensions -1, location -1000. A frame without objects has an empty label file; its
state tells whether a person says so (`reviewed_empty`). Where people corrected class, 2D box or mask, the line has theirs; the 3D box stays
the one that was rebuilt.
"""

import csv
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from lamm_pipeline.datasets.formats.files import Export, ExportSummary, export_frames, image_path, place, write_mask, write_png
from lamm_pipeline.datasets.splits.split_frames import SPLITS
from lamm_pipeline.datasets.splits.split_table import SplitSample
from lamm_pipeline.errors import InputError
from lamm_pipeline.reconstruction import kitti_labels
from lamm_pipeline.reconstruction.kitti_labels import NO_ALPHA, NO_BOX_3D, KittiObject
from lamm_pipeline.sample_table import Annotation, Sample

FOLDER = "kitti"
FRAMES_FILE = "frames.csv"


def write_kitti(export: Export) -> ExportSummary:
    """Write the frames of a dataset version as KITTI."""
    root, settings = export.draft.directory / FOLDER, export.manifest.settings
    numbers = export.draft.log("image_sets.jsonl")

    def write(item: SplitSample) -> Counter[str]:
        sample, folder, name = item.sample, root / item.split, f"{item.output_index:06d}"
        counts = Counter[str]([_place_png(image_path(sample), folder / "image_2" / f"{name}.png")])
        if settings.include_right_images:
            counts[_place_or_miss(sample.path(sample.image_right), folder / "image_3" / f"{name}.png", "without_right_image")] += 1
        if settings.include_point_clouds:
            counts[_place_or_miss(sample.path(sample.point_cloud), folder / "velodyne" / f"{name}.bin", "without_point_cloud")] += 1
        if settings.include_depth:
            depth = sample.path(sample.depth)
            target = folder / "depth" / f"{name}{'.npy' if depth is None else depth.suffix}"
            counts[_place_or_miss(depth, target, "without_depth")] += 1
        _copy_calibration(sample, folder / "calib" / f"{name}.txt", counts)
        objects = [_object(each, export.classes.of(each).kitti_type, with_box_3d=settings.include_3d_boxes) for each in sample.annotations]
        kitti_labels.write(folder / "label_2" / f"{name}.txt", objects)
        boxes_3d = sum(each.has_box_3d for each in objects)
        counts.update(boxes_3d=boxes_3d, without_box_3d=len(objects) - boxes_3d)
        if settings.include_masks:
            counts.update(
                write_mask(folder / "masks" / f"{name}_{line}.png", each.mask_rle) for line, each in enumerate(sample.annotations)
            )
        return counts

    def record(number: int, item: SplitSample) -> None:
        corrected = [f"{line}:{'+'.join(each.corrected)}" for line, each in enumerate(item.sample.annotations) if each.corrected]
        frame = {"split": item.split, "output_index": item.output_index, "frame_id": item.sample.frame_id, "state": item.sample.state}
        numbers.append({"number": number, **frame, "human": " ".join(corrected)})

    summary = export_frames(export, write, record)
    _write_image_sets(root / "ImageSets", numbers)
    _write_frames(root / FRAMES_FILE, numbers)
    return summary


def count_labels(folder: Path, split: str, output_index: int) -> int | None:
    """Number of objects in the label file of a frame of a written export; None when image or label is missing.

    Args:
        folder: the export, `kitti`.
        split: the split.
        output_index: number of the frame within the split.
    """
    name = f"{output_index:06d}"
    label = folder / split / "label_2" / f"{name}.txt"
    if not label.is_file() or not (folder / split / "image_2" / f"{name}.png").is_file():
        return None
    return len(kitti_labels.read(label))


def count_images(folder: Path, split: str) -> int:
    """Number of left images in a split of a written export.

    Args:
        folder: the export, `kitti`.
        split: the split.
    """
    return sum(1 for _ in (folder / split / "image_2").glob("*.png"))


def _place_or_miss(source: Path | None, target: Path, missing: str) -> str:
    return missing if source is None else place(source, target)


def _place_png(source: Path, target: Path) -> str:
    if source.suffix == ".png":
        return place(source, target)
    image = cv2.imread(str(source), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f"The image {source} is missing or damaged. Import it again.")
    write_png(target, np.asarray(image, np.uint8))
    return "converted_to_png"


def _copy_calibration(sample: Sample, target: Path, counts: Counter[str]) -> None:
    calibration = sample.path(sample.calibration)
    if calibration is None:
        counts["without_calibration"] += 1
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    shutil.copyfile(calibration, target)  # text people edit: a copy, so that the recording's own stays as it is


def _object(annotation: Annotation, kitti_type: str, *, with_box_3d: bool) -> KittiObject:
    found = annotation.box_3d
    if found is None or not with_box_3d:
        return KittiObject(kitti_type, -1.0, -1, NO_ALPHA, annotation.box_xyxy, NO_BOX_3D)
    return KittiObject(kitti_type, found.truncated, found.occluded, found.alpha, annotation.box_xyxy, found.box)


def _write_image_sets(folder: Path, numbers: Iterable[dict[str, object]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    files = {split: (folder / f"{split}.txt").open("w", encoding="ascii", newline="\n") for split in SPLITS}
    try:
        for entry in numbers:
            files[str(entry["split"])].write(f"{entry['output_index']:06d}\n")
    finally:
        for file in files.values():
            file.close()


def _write_frames(path: Path, numbers: Iterable[dict[str, object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["split", "number", "frame_id", "state", "human"])
        for entry in numbers:
            table.writerow([entry["split"], f"{entry['output_index']:06d}", entry["frame_id"], entry["state"], entry["human"]])
