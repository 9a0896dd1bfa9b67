"""`lamm evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from lamm_pipeline.cli import options
from lamm_pipeline.errors import InputError
from lamm_pipeline.evaluation.evaluate import IOU_2D
from lamm_pipeline.evaluation.evaluate import evaluate as score
from lamm_pipeline.evaluation.inputs import BoxSource


@options.command
def evaluate(
    result: Annotated[
        Path, typer.Argument(help="A root, a recording's folder in it, a folder with label_2/, or one split of a KITTI export.")
    ],
    truth: Annotated[Path, typer.Option(help="Folder with the true label_2/*.txt, and tracks.txt and calib.txt where there are any.")],
    recording: Annotated[str | None, typer.Option(help="Which recording of a root or of a split; not needed when there is one.")] = None,
    frame_offset: Annotated[
        int | None,
        typer.Option(help="True frame number minus the recording's. Default: by the names of packed images, else 0.", show_default=False),
    ] = None,
    camera: Annotated[
        int | None,
        typer.Option(
            help="KITTI camera of the recording's left eye: 0 (grey) or 2 (colour). Default: from the truth's folders.", show_default=False
        ),
    ] = None,
    iou: Annotated[float, typer.Option(help="Least 2D overlap of a detection and a true object.")] = IOU_2D,
    boxes: Annotated[
        BoxSource | None,
        typer.Option(
            help="Score the boxes of each frame alone, those refined over tracks, or those of masklets (no 3D). Default: refined "
            "where there are any.",
            show_default=False,
        ),
    ] = None,
    frames: Annotated[
        str | None, typer.Option(help="Frame indices of the result to compare, `15:30` for 15 to 29. Default: all.", show_default=False)
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Score 2D boxes, 3D boxes and tracks against KITTI ground truth.

    Recall, precision and AP per class and for the group `vehicle` (Car, Van, Truck); errors of distance, heading and overlap of the
    3D boxes, by range; HOTA, IDF1 and identity switches of the tracks.

        lamm evaluate data --recording drive --truth kitti/0039 --json
    """
    report = score(
        result,
        truth,
        recording=recording,
        frame_offset=frame_offset,
        camera=camera,
        iou_threshold=iou,
        boxes=boxes,
        frame_range=_range(frames),
    )
    if as_json:
        options.print_json(report.to_json())
    else:
        options.say(report.to_text())


def _range(frames: str | None) -> range | None:
    if frames is None:
        return None
    first, separator, end = frames.partition(":")
    if not (separator and first.isdecimal() and end.isdecimal() and int(first) < int(end)):
        raise InputError(f"--frames is {frames!r}; give the first frame and the one after the last, such as 15:30.")
    return range(int(first), int(end))
