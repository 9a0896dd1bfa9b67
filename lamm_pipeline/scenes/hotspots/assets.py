"""The asset `uncertainty_hotspots`."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from lamm_pipeline.datasets.frame_ranking import KEY
from lamm_pipeline.orchestration.config import StageConfig
from lamm_pipeline.orchestration.failures import IO_RETRIES, sentences_as_failures
from lamm_pipeline.orchestration.metadata import MAX_ROWS, table
from lamm_pipeline.orchestration.produce import produce, result
from lamm_pipeline.orchestration.summaries import WAITS_FOR_NOBODY
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.scenes.hotspots.find_hotspots import digest, find_hotspots, scene_inputs, words
from lamm_pipeline.scenes.hotspots.published import Hotspots, frame_page, published
from lamm_pipeline.scenes.hotspots.settings import HotspotSettings
from lamm_pipeline.scenes.library.collect import known
from lamm_pipeline.storage.artifacts import Artifact
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.streaming import Progress

CODE_VERSION = "1"
NAME = KEY.asset
SHOWN_INSIGHTS = 5
SHOWN_VIEWS = 2


class HotspotsConfig(HotspotSettings, StageConfig):
    """How tags are compared, and how much is proposed."""


@dg.asset(
    name=NAME,
    deps=["frame_uncertainty", "diversity_metrics", "scene_library"],
    group_name="scenes",
    code_version=CODE_VERSION,
    retry_policy=IO_RETRIES,
    automation_condition=WAITS_FOR_NOBODY,
    description="Of which scenes models are least sure: ranking over all models and by each, averages by tag with tests of their "
    "differences, what to curate next. Has the ranking of frames that hard cases are taken from.",
)
def uncertainty_hotspots(context: dg.AssetExecutionContext, config: HotspotsConfig, workspace: Workspace) -> dg.MaterializeResult:
    """Rank all scenes and frames."""
    with sentences_as_failures():
        told = known(workspace.catalog, Path(workspace.root))
        inputs = scene_inputs(workspace.store, told, workspace.catalog.decisions.watermarks())

        def work(draft: Draft, progress: Progress) -> Mapping[str, Any]:
            return find_hotspots(workspace.store, inputs, config, draft, progress, workers=config.workers)

        artifact = produce(
            context,
            workspace,
            work,
            scope=KEY.scope,
            config=config,
            code_version=CODE_VERSION,
            files={"scenes": digest(inputs)},
        )
        found = published(workspace.store)
        metadata: dict[str, Any] = {**artifact.counts, "hotspots_page": dg.MetadataValue.url(f"{workspace.settings.report_url}/hotspots")}
        if found is not None:
            for each in found.summary["left_out"][:MAX_ROWS]:
                context.log.warning(f"{each['recording']} is left out: {each['reason']}")
            for each in found.summary["insights"]:
                context.log.info(each["sentence"])
            metadata |= _shown(found, artifact, workspace)
        return result(artifact, metadata)


def _shown(found: Hotspots, artifact: Artifact, workspace: Workspace) -> dict[str, Any]:
    server = workspace.settings.report_url
    ranking = [
        {
            "scene": row.scene_id,
            "max_score": round(row.max_score, 4),
            "kind": words(row.score_kind),
            "model": row.model_id,
            "evaluated": f"{row.evaluated_at:%Y-%m-%d}",
            "captured": None if row.captured_at is None else f"{row.captured_at:%Y-%m-%d %H:%M}",
            "tags": ", ".join(row.tags),
            "frame": row.frame_index,
            "link": server + frame_page(workspace.store, row.scene_id, row.frame_index),
        }
        for row in found.ranking()[:MAX_ROWS]
    ]
    proposals = [
        {
            "scene": each["scene_id"],
            "frame": each["frame_index"],
            "score": round(each["score"], 4),
            "kind": words(each["score_kind"]),
            "model": each["model_id"],
            "more_uncertain_than_percent": round(100 * each["standing"], 1),
            "nearest_bits": each["nearest_bits"],
            "later_because": each["later"],
            "link": server + frame_page(workspace.store, each["scene_id"], each["frame_index"]),
        }
        for each in found.summary["proposals"][:MAX_ROWS]
    ]
    sentences = [f"- {each['sentence']}" for each in found.summary["insights"][:SHOWN_INSIGHTS]]
    return {
        "insights_in_words": dg.MetadataValue.md("\n".join(sentences) or "No difference between tags that chance does not explain."),
        **{
            f"box_plot_{number}": _picture(artifact, view["drawing"], f"{words(view['score_kind'])} of {view['model_id']} by tag")
            for number, view in enumerate(found.summary["views"][:SHOWN_VIEWS])
        },
        "ranking": table(ranking),
        "next_to_curate": table(proposals),
        "by_tag": table(_by_tag(found.summary["views"])),
        "left_out_because": table(found.summary["left_out"]),
    }


def _by_tag(views: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "model": view["model_id"],
            "kind": words(view["score_kind"]),
            "tag": "(all scenes)" if each["tag"] is None else each["tag"],
            "scenes": each["scenes"],
            "mean": round(each["mean"], 4),
            "low": None if each["interval"] is None else round(each["interval"]["low"], 4),
            "high": None if each["interval"] is None else round(each["interval"]["high"], 4),
            "median": round(each["box"]["median"], 4),
        }
        for view in views
        for each in view["tags"]
    ]


def _picture(artifact: Artifact, name: str, caption: str) -> dg.MarkdownMetadataValue:
    encoded = base64.b64encode(artifact.file(name).read_bytes()).decode()
    return dg.MetadataValue.md(f"![{caption}](data:image/svg+xml;base64,{encoded})")
