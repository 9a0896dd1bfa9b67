"""What people change of many scenes at once: tags, labelling status, labeler."""

from collections.abc import Sequence

from lamm_pipeline.catalog.catalog import Catalog
from lamm_pipeline.errors import InputError
from lamm_pipeline.review.labelling_status import parse_status
from lamm_pipeline.review.requests import check_tag

MAX_LABELER = 200


def change_tag(catalog: Catalog, scenes: Sequence[str], tag: str, actor: str, *, remove: bool = False) -> int:
    """Put a tag on scenes or take it off, all of them or none; returns how many are changed by it.

    Raises:
        InputError: it is no tag, or a scene is unknown.
    """
    tags = [check_tag(tag)]
    return catalog.tags.remove(scenes, tags, actor) if remove else catalog.tags.add(scenes, tags, actor)


def change_labelling(catalog: Catalog, scenes: Sequence[str], actor: str, *, status: str | None = None, labeler: str | None = None) -> int:
    """Say how far labelling of scenes is and who does it, of all of them or none; returns how many are changed by it.

    Args:
        catalog: where it is remembered.
        scenes: their ids.
        actor: who says so.
        status: a word of any of the tools; None leaves what is known.
        labeler: None leaves what is known, an empty text takes the scenes from whoever had them.

    Raises:
        InputError: neither is given, one cannot be, or a scene is unknown.
    """
    if status is None and labeler is None:
        raise InputError("There is nothing to change: give a status, a labeler or both.")
    if labeler is not None and (len(labeler) > MAX_LABELER or (labeler and not labeler.isprintable())):
        raise InputError(f"A labeler has a name of at most {MAX_LABELER} characters on one line; an empty one stands for nobody.")
    known = None if status is None else parse_status(status)
    return catalog.labelling.set(scenes, actor, status=known, labeler=None if labeler is None else labeler.strip())
