"""The stages of the per-recording path by the names people use, what each needs, and how much of the work each is."""

from collections.abc import Iterable
from dataclasses import dataclass

from lamm_pipeline.errors import InputError


@dataclass(frozen=True)
class Stage:
    """One stage: its assets, the stages it needs, and its weight in the progress of a run (per cent of a usual run).

    A usual run has all stages but the `extra` ones, which run when they are asked for.
    """

    name: str
    assets: tuple[str, ...]
    needs: tuple[str, ...]
    weight: float
    extra: bool = False


STAGES = {
    stage.name: stage
    for stage in (
        Stage("extraction", ("recording", "frames", "diversity_metrics"), (), 25),
        Stage("segmentation", ("detections",), ("extraction",), 50),
        Stage("reconstruction", ("boxes_3d",), ("segmentation",), 15),
        Stage("tracking", ("tracks",), ("reconstruction",), 10),
        Stage("masklets", ("mask_candidates", "masklets"), ("segmentation",), 25, extra=True),
        Stage("identities", ("identities",), ("tracking", "masklets"), 1, extra=True),
        Stage("review", ("sequence_annotations",), ("segmentation",), 1),
        Stage("curation", ("annotation_stats", "selection"), ("segmentation",), 1),
    )
}
USUAL = tuple(name for name, stage in STAGES.items() if not stage.extra)


def with_needs(names: Iterable[str]) -> list[str]:
    """The stages asked for and all they need, in the order they run.

    Raises:
        InputError: a name is no stage.
    """
    wanted: set[str] = set()
    queue = list(names)
    while queue:
        name = queue.pop()
        if name not in STAGES:
            raise InputError(f"{name!r} is no stage. The stages are {', '.join(STAGES)}.")
        wanted.add(name)
        queue.extend(STAGES[name].needs)
    return [name for name in STAGES if name in wanted]


def assets_of(names: Iterable[str]) -> list[str]:
    """Assets that the stages asked for and their needs consist of."""
    return [asset for name in with_needs(names) for asset in STAGES[name].assets]


def needs_of(names: Iterable[str]) -> list[str]:
    """Assets that the stages asked for need and do not have themselves."""
    named = list(names)
    return [asset for name in with_needs(named) if name not in named for asset in STAGES[name].assets]


def progress_spans(names: Iterable[str]) -> dict[str, tuple[float, float]]:
    """Where in the progress of a run (0 to 100 per cent) each of exactly these stages lies, by the weights renormalised over them."""
    wanted = set(names)
    chosen = [stage for name, stage in STAGES.items() if name in wanted]
    total = sum(stage.weight for stage in chosen)
    spans: dict[str, tuple[float, float]] = {}
    begin = 0.0
    for stage in chosen:
        end = begin + 100.0 * stage.weight / total
        spans[stage.name] = (begin, end)
        begin = end
    return spans


def progress_after(asset: str, selected: Iterable[str]) -> float | None:
    """How much of a run is done (per cent) when `asset` is, for a run of the `selected` assets; None for assets of no stage."""
    chosen = set(selected)
    stages = [stage for stage in STAGES.values() if chosen & set(stage.assets)]
    for stage in stages:
        own = [each for each in stage.assets if each in chosen]
        if asset in own:
            begin, end = progress_spans(each.name for each in stages)[stage.name]
            return begin + (end - begin) * (own.index(asset) + 1) / len(own)
    return None
