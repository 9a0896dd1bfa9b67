"""The recipe every asset follows: name the version, reuse it if it is there, else work in a draft and publish."""

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import dagster as dg

from lamm_pipeline.orchestration.config import StageConfig, science
from lamm_pipeline.orchestration.progress import StageProgress
from lamm_pipeline.orchestration.runs import tell_stopping
from lamm_pipeline.orchestration.stages import progress_after
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.storage.artifacts import UNPARTITIONED, Artifact, ArtifactKey, Identity, Source
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.storage.making import find_or_make
from lamm_pipeline.streaming import Progress

PROGRESS_TAG = "lamm/progress"
Work = Callable[[Draft, Progress], Mapping[str, Any]]


def produce(
    context: dg.AssetExecutionContext,
    workspace: Workspace,
    work: Work,
    *,
    scope: str = "recordings",
    config: StageConfig,
    code_version: str,
    inputs: Mapping[str, Artifact] | None = None,
    files: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
    sources: Sequence[Source] = (),
) -> Artifact:
    """Return the artifact of this asset and partition for exactly these inputs and settings, computing it if need be.

    Args:
        context: of the running asset; its asset key and partition name the artifact.
        workspace: where artifacts are.
        work: writes the files into the draft and returns the counts that go into the manifest.
        scope: `recordings`, `annotation_exports`, `datasets`, or `summaries` for an asset without partitions.
        config: the asset's config; its science settings are part of the version.
        code_version: the asset's code version.
        inputs: artifacts read, by asset.
        files: digests of every other file read, by role.
        settings: science settings, when they are not all of `config`'s.
        sources: recordings it is made of, beside those that the inputs name.
    """
    asset = context.asset_key.path[-1]
    key = ArtifactKey(scope, context.partition_key if context.has_partition_key else UNPARTITIONED, asset)
    versions = {name: artifact.version for name, artifact in (inputs or {}).items()}
    identity = Identity(asset, code_version, science(config) if settings is None else settings, versions, files or {})
    named = [*sources, *(source for artifact in (inputs or {}).values() for source in artifact.manifest.sources)]
    try:
        artifact = _found_or_made(context, workspace, key, identity, config, work, list(dict.fromkeys(named)))
    except (dg.DagsterExecutionInterruptedError, KeyboardInterrupt):
        tell_stopping(context.instance, context.run)
        raise
    _tell_progress(context)
    return artifact


def _found_or_made(
    context: dg.AssetExecutionContext,
    workspace: Workspace,
    key: ArtifactKey,
    identity: Identity,
    config: StageConfig,
    work: Work,
    sources: Sequence[Source],
) -> Artifact:
    made = False

    def make(draft: Draft) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        nonlocal made
        made = True
        if draft.state:
            context.log.info(f"Resuming version {identity.version} of {key.asset} after {draft.state.get('done', 0)} frames.")
        progress = StageProgress(context.log.info, key.asset)
        started = time.time()
        with _collecting_only_what_is_new():
            counts = work(draft, progress)
        return counts, {"run_id": context.run.run_id, "started_at": started, "seconds": time.time() - started, **progress.summary()}

    artifact = find_or_make(workspace.store, key, identity, make, sources, restart=config.restart, force=config.force)
    if not made:
        context.log.info(f"Version {identity.version} of {key.asset} is published already; nothing to compute.")
    return artifact


@contextmanager
def _collecting_only_what_is_new() -> Iterator[None]:
    """Spare the garbage collector all that Dagster has loaded; while frames stream by, it would look through it again and again."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _tell_progress(context: dg.AssetExecutionContext) -> None:
    """Tag the run with how much of it is done, by the stages' weights."""
    selected = context.run.asset_selection or context.job_def.asset_layer.executable_asset_keys
    share = progress_after(context.asset_key.path[-1], (key.path[-1] for key in selected))
    run = context.instance.get_run_by_id(context.run.run_id)
    if share is not None and run is not None and share > float(run.tags.get(PROGRESS_TAG, "0 %").split()[0]):
        context.instance.add_run_tags(run.run_id, {PROGRESS_TAG: f"{share:.0f} %"})


def result(artifact: Artifact, metadata: Mapping[str, Any], checks: list[dg.AssetCheckResult] | None = None) -> dg.MaterializeResult:
    """What an asset returns: the artifact's version as data version, its numbers as metadata."""
    return dg.MaterializeResult(
        metadata={
            **metadata,
            "size_mb": round(artifact.manifest.size / 1e6, 3),
            "version": artifact.version,
            "folder": dg.MetadataValue.path(artifact.location),
        },
        check_results=checks or [],
        data_version=dg.DataVersion(artifact.version),
    )
