"""Settings of the `detections` stage.

All but `OPERATIONAL_FIELDS` are part of the artifact's version; of the model and the files that some of these name, the digests are.
"""

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator


class TileProfile(StrEnum):
    """How many looks the detector takes at a frame; see `tiles.py`."""

    full = "full"
    fast = "fast"
    accurate = "accurate"


class Variant(StrEnum):
    """Size of a SAM2.1 model; `base` is the one that its makers call `base_plus`."""

    tiny = "tiny"
    small = "small"
    base = "base"
    large = "large"


class Prompts(StrEnum):
    """What SAM2 is asked about."""

    boxes = "boxes"
    automatic = "automatic"


OPERATIONAL_FIELDS = frozenset(
    {
        "batch_size",
        "compile_model",
        "gpu_memory_share",
        "mask_quality",
        "mask_stability",
        "points_per_side",
        "predictions",
        "predictions_images",
        "prompts",
        "variant",
        "weights",
    }
)
"""Settings that do not change the result, or only through what the back end's identity says of them."""


class SegmentationSettings(BaseModel):
    """What to look for in each frame and how hard."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: str = Field(
        "detector",
        description="What finds the objects: `detector` is the embedded network with masks from stereo depth, `sam2` outlines the "
        "detector's boxes with SAM2, `sam3` finds and outlines what the ontology's prompts describe, `external` takes the predictions of "
        "a file.",
    )
    variant: Variant = Field(
        Variant.tiny, description="Which SAM2.1 model the back end `sam2` uses: tiny, small, base (base_plus) or large."
    )
    weights: str | None = Field(
        None,
        description="Weights of the back ends `sam2` (the checkpoint file, its folder, or its id on the Hugging Face hub, such as "
        "`facebook/sam2.1-hiera-tiny`) and `sam3` (a folder in the form of transformers, or an id such as `facebook/sam3`).",
    )
    prompts: Prompts = Field(
        Prompts.boxes,
        description="What the back end `sam2` outlines: `boxes` those of the detector or of `predictions`, `automatic` everything in the "
        "image, with classes from those boxes or from the size in metres; docs/segmenters.md has the rules.",
    )
    points_per_side: int = Field(
        32, ge=1, le=128, description="With `prompts: automatic`, how many points SAM2 is asked about along each side of the image."
    )
    mask_quality: float = Field(
        0.8, ge=0.0, le=1.0, description="With `prompts: automatic`, smallest quality that SAM2 itself expects of a mask (IoU)."
    )
    mask_stability: float = Field(
        0.95,
        ge=0.0,
        le=1.0,
        description="With `prompts: automatic`, how little a mask may change when SAM2's threshold moves (IoU of the two).",
    )
    compile_model: bool = Field(
        False,
        description="Translate the image encoder of `sam2` or `sam3` with torch.compile: minutes at the start, faster from then on. "
        "Rounding differs, so results count as another version.",
    )
    gpu_memory_share: float = Field(
        0.9,
        gt=0.0,
        le=1.0,
        description="Share of the GPU's memory that `sam2` or `sam3` may take. Batches that do not fit into it are made smaller.",
    )
    predictions: str | None = Field(
        None,
        description="Predictions made elsewhere, for the back end `external`, or as prompts for `sam2`: a JSON file or a folder of JSON "
        "files a frame; docs/segmenters.md has the formats.",
    )
    predictions_images: str | None = Field(
        None, description="COCO file with the lists `images` and `categories`, where `predictions` is a bare list of COCO results."
    )
    confidence_threshold: float = Field(
        0.35,
        ge=0.0,
        le=1.0,
        description="Smallest score of a detection, 0 to 1. The embedded network scores clear cars 0.4 to 0.8 and people 0.35 to 0.6, so "
        "0.5 loses most people; below 0.3 false detections outnumber objects.",
    )
    nms_iou: float = Field(
        0.5,
        gt=0.0,
        le=1.0,
        description="Boxes of one group of classes that overlap more than this (IoU) are one object; the better one stays.",
    )
    max_detections: int = Field(100, ge=1, le=1000, description="Most detections kept a frame, best scores first.")
    tiles: TileProfile = Field(
        TileProfile.accurate,
        description="How the detector looks at a frame: `full` once as a whole (fastest, near objects only), `fast` also in tiles as high "
        "as the image, `accurate` also in smaller tiles along the horizon (finds people and far cars).",
    )
    classes: list[str] = Field(
        [], description="Classes to detect, by id (`car`) or category id (`1`); empty means all classes of the ontology."
    )
    min_box_px: float = Field(
        20.0, ge=1.0, le=1000.0, description="Boxes less high than this many pixels are not reported: too small for a mask or a distance."
    )
    size_check: bool = Field(
        True,
        description="Refuse detections whose size in metres, measured from box and depth, is far from the class's size prior, and those "
        "that float above the ground. The refused are counted.",
    )
    write_masks: bool = Field(False, description="Also write each mask as a PNG file (0 and 255); the masks are in detections.json anyway.")
    max_bad_share: float = Field(
        0.2, ge=0.0, le=1.0, description="Largest share of frames whose files may be missing or damaged before the stage fails."
    )
    batch_size: int = Field(
        8, ge=1, le=32, description="Frames given to a GPU model at once. Does not change the result; the embedded detector ignores it."
    )

    @field_validator("classes", mode="before")
    @classmethod
    def _category_ids_as_text(cls, value: Any) -> Any:
        """A list in YAML or JSON may hold category ids as numbers."""
        return [str(each) if isinstance(each, int) else each for each in value] if isinstance(value, list | tuple) else value
