"""The page of the hotspots, and the requests that it makes.

| address | what |
| --- | --- |
| `/hotspots` | scenes that models are least sure of, tags, what to curate next |
| `/api/hotspots` | all that the page shows; `model`, `tag`, `offset` |
| `/api/hotspots/dataset` | the hard cases that a dataset would have, and how to make it |
"""

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lamm_pipeline.datasets.creation import wanted_recordings
from lamm_pipeline.datasets.hard_cases import HardCases, choose
from lamm_pipeline.datasets.versions import check_name
from lamm_pipeline.errors import InputError
from lamm_pipeline.orchestration.config import parse
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.reports.requests import number_of, page
from lamm_pipeline.scenes.hotspots.find_hotspots import words
from lamm_pipeline.scenes.hotspots.published import Hotspots, frame_page, published
from lamm_pipeline.storage.artifacts import ArtifactKey

PAGE_ROWS = 15
LISTED_SCENES = 200
OPTIONS = {
    "top": "--hard-cases-top",
    "top_per_recording": "--hard-cases-per-recording",
    "top_per_tag": "--hard-cases-per-tag",
    "above": "--hard-cases-above",
    "min_gap_frames": "--hard-cases-gap",
    "score_kind": "--hard-cases-score",
    "models": "--hard-cases-model",
    "tags": "--hard-cases-tag",
}
"""Options of `lamm dataset create`, by fields of the condition."""


class HotspotPages:
    """Answers requests about hotspots."""

    def __init__(self, workspace: Workspace, policy: Callable[[], str]) -> None:
        """Made by the server.

        Args:
            workspace: what is shown.
            policy: content security policy of pages with pictures of scenes.
        """
        self._workspace = workspace
        self._policy = policy

    @property
    def routes(self) -> list[Route]:
        """The addresses."""
        return [
            Route("/hotspots", self.page),
            Route("/api/hotspots", self.hotspots),
            Route("/api/hotspots/dataset", self.dataset),
        ]

    def page(self, _: Request) -> Response:
        """The page."""
        return page("hotspots.html", self._policy())

    def hotspots(self, request: Request) -> Response:
        """What the page shows."""
        found = published(self._workspace.store)
        if found is None:
            return JSONResponse({"published": False})
        given = request.query_params
        model, tag = given.get("model") or None, given.get("tag") or None
        return JSONResponse(self._shown(found, model, tag, number_of(request, "offset") or 0))

    def dataset(self, request: Request) -> Response:
        """What a dataset of hard cases would be."""
        given = request.query_params
        lists = {name: [each for each in given.getlist(name) if each] for name in ("models", "tags")}
        condition = hard_cases_of({**given, **lists})
        if condition is None:
            raise InputError("Say how many frames, or above which score.")
        name = check_name(given.get("name") or "hard_cases")
        return JSONResponse({**preview(self._workspace, condition), **_instructions(name, condition, str(self._workspace.settings.root))})

    def _shown(self, found: Hotspots, model: str | None, tag: str | None, offset: int) -> dict[str, Any]:
        ranking = found.ranking(model, tag)
        summary = found.summary

        def of_model(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
            return [row for row in rows if model in (None, row["model_id"])]

        return {
            "published": True,
            "counts": summary["counts"],
            "models": sorted({row.model_id for row in found.scores}),
            "tags": sorted({each for row in found.scores for each in row.tags}),
            "kinds": sorted({words(row.score_kind) for row in ranking}),
            "ranking": [
                {
                    "scene_id": row.scene_id,
                    "max_score": row.max_score,
                    "kind": words(row.score_kind),
                    "model_id": row.model_id,
                    "evaluation": row.evaluation,
                    "evaluated_at": f"{row.evaluated_at:%Y-%m-%d %H:%M}",
                    "captured_at": None if row.captured_at is None else f"{row.captured_at:%Y-%m-%d %H:%M}",
                    "tags": row.tags,
                    **self._frame(row.scene_id, row.frame_index),
                }
                for row in ranking[offset : offset + PAGE_ROWS]
            ],
            "total": len(ranking),
            "rows": PAGE_ROWS,
            "views": [{**view, "kind": words(view["score_kind"])} for view in of_model(summary["views"])],
            "insights": [each["sentence"] for each in of_model(summary["insights"]) if tag in (None, each["tag"])],
            "proposals": [
                {**each, "kind": words(each["score_kind"]), **self._frame(each["scene_id"], each["frame_index"])}
                for each in of_model(summary["proposals"])
                if tag is None or tag in each["tags"]
            ],
            "left_out": summary["left_out"][:LISTED_SCENES],
        }

    def _frame(self, recording: str, index: int) -> dict[str, Any]:
        """A frame with its addresses."""
        store = self._workspace.store
        frames = store.current_version(ArtifactKey("recordings", recording, "frames"))
        return {
            "frame_index": index,
            "link": frame_page(store, recording, index),
            "image": None if frames is None else f"/recordings/{recording}/images/{frames}/{index}?small=1",
        }


def hard_cases_of(given: Mapping[str, Any]) -> HardCases | None:
    """The condition that a page sends; None where there is none.

    Args:
        given: fields of `HardCases`, numbers perhaps as texts; empty ones and others are passed over.

    Raises:
        InputError: a value is not allowed.
    """
    values = {name: given[name] for name in HardCases.model_fields if given.get(name) not in (None, "", [])}
    condition: HardCases = parse(HardCases, values, "the hard cases")
    return condition if condition.wanted else None


def preview(workspace: Workspace, condition: HardCases, recordings: Sequence[str] | None = None) -> dict[str, Any]:
    """How many frames of which scenes are hard cases now; a sentence where none is.

    Args:
        workspace: what is shown.
        condition: of a draft.
        recordings: keys of those to choose from; None = all that a dataset can be made of.
    """
    try:
        keys = wanted_recordings(workspace.store, workspace.catalog, []) if recordings is None else recordings
        frozen, _ = choose(workspace.store, condition, keys)
    except InputError as error:
        return {"frames": 0, "scenes": {}, "problem": str(error)}
    scenes: dict[str, int] = {}
    for name in frozen.frame_ids:
        recording = name.rpartition(":")[0]
        scenes[recording] = scenes.get(recording, 0) + 1
    return {"frames": len(frozen.frame_ids), "scenes": scenes, "problem": None}


def _instructions(name: str, condition: HardCases, root: str) -> dict[str, str]:
    """How to make the dataset in a terminal and in the Launchpad."""
    values = {field: value for field, value in condition.model_dump(mode="json").items() if value not in (None, [], 0)}
    said = [
        word
        for field, option in OPTIONS.items()
        if field in values
        for value in (values[field] if isinstance(values[field], list) else [values[field]])
        for word in (option, str(value))
    ]
    config = {"ops": {"write_version": {"config": {"name": name, "hard_cases": values}}}}
    return {
        "command": shlex.join(["lamm", "dataset", "create", name, *said, "--root", root]),
        "config": yaml.safe_dump(config, sort_keys=False),
    }
