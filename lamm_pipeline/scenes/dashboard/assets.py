"""The asset `dashboard`: what is there, what goes on, what failed and what waits for people, as numbers that Dagster plots over time."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from lamm_pipeline.orchestration.config import StageConfig
from lamm_pipeline.orchestration.failures import IO_RETRIES, sentences_as_failures
from lamm_pipeline.orchestration.metadata import table
from lamm_pipeline.orchestration.produce import produce, result
from lamm_pipeline.orchestration.run_history import RunHistory
from lamm_pipeline.orchestration.summaries import WAITS_FOR_NOBODY
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.scenes.dashboard import evaluations
from lamm_pipeline.scenes.dashboard.dashboard import FILE_NAME, Dashboard, Known, gather, published
from lamm_pipeline.scenes.dashboard.links import QuickLink
from lamm_pipeline.scenes.dashboard.status_chart import as_markdown
from lamm_pipeline.scenes.library.present import SceneLibrary
from lamm_pipeline.storage.atomic import digest_json
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.streaming import Progress

CODE_VERSION = "1"
NAME = "dashboard"
GROUP = "scenes"


@dg.asset(
    name=NAME,
    deps=["scene_library", "lineage", "annotation_export"],
    group_name=GROUP,
    code_version=CODE_VERSION,
    retry_policy=IO_RETRIES,
    automation_condition=WAITS_FOR_NOBODY,
    description="The state of everything: scenes, labelling, volume, runs, what failed and what waits for people, recent activity, the "
    "scenes that models are least sure of. The report server's home page shows the same as it is now.",
)
def dashboard(context: dg.AssetExecutionContext, config: StageConfig, workspace: Workspace) -> dg.MaterializeResult:
    """Gather the dashboard."""
    with sentences_as_failures():
        known = Known() if config.force else published(workspace.store)
        library = SceneLibrary(workspace.store, workspace.catalog, Path(workspace.root))
        found = gather(workspace, library, RunHistory(context.instance, known.runs), known, config.workers)
        content = {**found.to_json(), "known": known.to_json()}

        def work(draft: Draft, progress: Progress) -> Mapping[str, Any]:
            (draft.directory / FILE_NAME).write_text(json.dumps(content, indent=1, sort_keys=True))
            evaluations.write(draft.directory / evaluations.FILE_NAME, known.tallies)
            progress(found.scenes.scenes, found.scenes.scenes)
            return _numbers(found)

        artifact = produce(
            context,
            workspace,
            work,
            scope="summaries",
            config=config,
            code_version=CODE_VERSION,
            settings={},
            files={"content": digest_json(content), "tallies": digest_json(sorted(map("/".join, known.tallies)))},
        )
        home = workspace.settings.report_url
        return result(
            artifact,
            {
                **artifact.counts,
                "page": dg.MetadataValue.url(f"{home}/"),
                "labelling": dg.MetadataValue.md(as_markdown(found.labelling)),
                "quick_links": dg.MetadataValue.md("\n".join(_line(each, home) for each in found.links)),
                **{name: table(rows) for name, rows in _tables(found, home).items()},
            },
        )


def _numbers(found: Dashboard) -> dict[str, Any]:
    """Numbers to be plotted; what is not known is not in it."""
    newest = found.evaluations[0] if found.evaluations else None
    numbers = {
        "scenes": found.scenes.scenes,
        "hours": round(found.scenes.duration_s / 3600, 4),
        "frames": found.scenes.frames,
        **{each.status: each.scenes for each in found.labelling},
        "storage_gb": round(found.volume.total / 1e9, 3),
        "recordings_gb": round(found.volume.recordings / 1e9, 3),
        "point_clouds_gb": round(found.volume.point_clouds / 1e9, 3),
        "datasets_gb": round(found.volume.datasets / 1e9, 3),
        "active_runs": len(found.active),
        "failed_runs": len(found.failed),
        "failing_checks": len(found.checks),
        "waiting": sum(each.count for each in found.waiting),
        "max_uncertainty": round(found.uncertain[0].score, 4) if found.uncertain else None,
        "newest_evaluation_mean": None if newest is None else round(newest.mean, 4),
        "newest_evaluation_p95": None if newest is None else round(newest.p95, 3),
    }
    return {name: value for name, value in numbers.items() if value is not None}


def _tables(found: Dashboard, home: str) -> dict[str, list[dict[str, Any]]]:
    return {
        "waiting_for_people": [{"count": each.count, "what": each.what} for each in found.waiting],
        "failed": [
            {"what": each.job, "of": each.partition, "at": f"{each.at:%Y-%m-%d %H:%M}", "problem": each.problem, "run": each.href}
            for each in found.failed
        ]
        + [
            {
                "what": f"{each.asset}: {each.check}",
                "of": each.partition,
                "at": f"{each.at:%Y-%m-%d %H:%M}",
                "problem": f"{each.severity} {each.problem}".strip(),
                "run": each.href,
            }
            for each in found.checks
        ],
        "uncertain_scenes": [
            {
                "scene": each.scene,
                "max_uncertainty": round(each.score, 4),
                "frame": each.frame,
                "model": each.model,
                "status": each.status,
                "tags": ", ".join(each.tags),
                "link": f"{home}{each.frame_href or each.href}",
            }
            for each in found.uncertain
        ],
        "evaluations": [
            {
                "evaluation": each.evaluation,
                "model": each.model_id,
                "evaluated_at": f"{each.evaluated_at:%Y-%m-%d %H:%M}",
                "recordings": each.recordings,
                "frames": each.frames,
                "mean": round(each.mean, 4),
                "p95": round(each.p95, 3),
                "score": ", ".join(each.score_kinds),
                "histogram_0.1": " ".join(map(str, each.histogram)),
                "mean_iou": None if each.mean_iou is None else round(each.mean_iou, 4),
                "labels": ", ".join(each.label_sources),
            }
            for each in found.evaluations
        ],
        "activity": [
            {"at": f"{each.at:%Y-%m-%d %H:%M:%S}", "who": each.actor, "what": each.text, "kind": each.kind} for each in found.feed.entries
        ],
    }


def _line(link: QuickLink, home: str) -> str:
    if link.href is None:
        return f"- {link.title}: {link.note}"
    return f"- [{link.title}]({link.href if link.group == 'dagster' else home + link.href}): {link.note}"
