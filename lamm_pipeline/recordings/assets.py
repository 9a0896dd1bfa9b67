"""The asset `recording`: one SVO2 file, read and checked."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from lamm_pipeline import partitions
from lamm_pipeline.catalog.models import Recording
from lamm_pipeline.errors import InputError
from lamm_pipeline.orchestration.config import StageConfig
from lamm_pipeline.orchestration.failures import IO_RETRIES, sentences_as_failures
from lamm_pipeline.orchestration.metadata import table
from lamm_pipeline.orchestration.produce import produce, result
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.recordings import checks
from lamm_pipeline.recordings.calibration import find_calibration
from lamm_pipeline.recordings.ingest import ensure_prepared
from lamm_pipeline.recordings.integrity import check
from lamm_pipeline.recordings.metadata import camera_serial, describe
from lamm_pipeline.recordings.open_recording import Backend, backend_in_force, open_recording
from lamm_pipeline.storage.artifacts import Source
from lamm_pipeline.storage.atomic import sha256_file, write_json
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.streaming import Progress

CODE_VERSION = "1"
FILE_NAME = "recording.json"


class RecordingConfig(StageConfig):
    """Who reads the recording."""

    reader: Backend = Field(
        Backend.auto,
        description="native: this package's own reader. zed: the ZED SDK, falling back to native without it. auto: native, and the ZED SDK "
        "for video that only it can read.",
    )


@dg.asset(
    partitions_def=partitions.recordings,
    group_name="recordings",
    code_version=CODE_VERSION,
    retry_policy=IO_RETRIES,
    kinds={"svo2"},
    check_specs=checks.SPECS,
    description="One SVO2 file: what the container says about camera, frames, rate, IMU and gaps, and whether it can be read.",
)
def recording(context: dg.AssetExecutionContext, config: RecordingConfig, workspace: Workspace) -> dg.MaterializeResult:
    """Read a recording's facts and check it."""
    with sentences_as_failures():
        row = workspace.catalog.recordings.get(context.partition_key)
        row = ensure_prepared(workspace.catalog, row, Path(workspace.root), camera_serial)
        digest = current_digest(workspace, row)
        reader, remark = backend_in_force(Path(row.path), config.reader)
        if remark:
            context.log.warning(remark)

        def work(draft: Draft, progress: Progress) -> Mapping[str, Any]:
            with open_recording(Path(row.path), reader) as opened:
                facts = asdict(describe(opened, Path(row.path), digest=digest))
                report = asdict(check(opened))
            progress(1, 1)
            write_json(
                draft.directory / FILE_NAME,
                {"key": row.key, "file_name": Path(row.path).name, "dataset_id": row.dataset_id, **facts, "integrity": report},
            )
            return {"frames": facts["frame_count"], "gaps": facts["gap_count"], "readable": report["readable"]}

        artifact = produce(
            context,
            workspace,
            work,
            config=config,
            code_version=CODE_VERSION,
            settings={"key": row.key, "file_name": Path(row.path).name, "dataset_id": row.dataset_id} | _asked_for(reader),
            files={"recording": digest},
            sources=(Source(row.key, row.dataset_id, digest),),
        )
        facts = json.loads(artifact.file(FILE_NAME).read_text())
        workspace.catalog.recordings.set_recorded_at(row.key, facts["recorded_at_ns"])
        verdicts = checks.evaluate(
            facts,
            twins=workspace.catalog.recordings.same_content(row.key, digest),
            calibration=calibration_state(workspace, row, facts),
        )
        return result(
            artifact,
            {
                "frames": facts["frame_count"],
                "duration_s": facts["duration_s"],
                "fps": facts["measured_fps"],
                "bitrate_mbit_s": facts["bitrate_bits_s"] / 1e6 if facts["bitrate_bits_s"] is not None else None,
                "facts": table(
                    [{"fact": name, "value": _short(value)} for name, value in facts.items() if name not in {"header", "integrity"}]
                ),
                "file": dg.MetadataValue.path(row.path),
                "synthetic": facts["synthetic"],
            },
            verdicts,
        )


def _asked_for(reader: Backend) -> dict[str, str]:
    """What the choice of the reader adds to the version: nothing, unless the SDK reads what this package could read."""
    return {"reader": reader.value} if reader is Backend.zed else {}


def current_digest(workspace: Workspace, row: Recording) -> str:
    """Digest of the recording's file as it is now; computed again only when size or stamp have changed.

    Raises:
        InputError: the file is gone.
    """
    path = Path(row.path)
    if not path.is_file():
        raise InputError(f"The file of recording {row.key!r} is gone: {path}. Put it back, or add it at its new place with `lamm add`.")
    stat = path.stat()
    if row.digest is not None and (row.size, row.mtime_ns) == (stat.st_size, stat.st_mtime_ns):
        return row.digest
    digest = sha256_file(path)
    workspace.catalog.recordings.set_digest(row.key, digest, stat.st_size, stat.st_mtime_ns)
    return digest


def calibration_state(workspace: Workspace, row: Recording, facts: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether a usable calibration is found for a recording, and where or why not."""
    serial = facts["serial"]
    try:
        found = find_calibration(
            Path(row.path), serial, facts["width"], facts["height"], explicit=None, folder=workspace.settings.calibration_folder
        )
    except InputError as error:
        return False, str(error)
    if found is None:
        return (
            False,
            f"No SN{serial}.conf beside the file, in LAMM_CALIBRATION_DIR or in the SDK's folder: frames stay raw, no depth, no 3D.",
        )
    return True, found.source


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict, tuple)) else str(value)
    return text if len(text) <= 200 else text[:197] + "..."
