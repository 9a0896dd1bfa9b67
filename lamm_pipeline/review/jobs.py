"""Decisions from the Launchpad: the job `decide`."""

import dagster as dg
from pydantic import Field

from lamm_pipeline.orchestration.config import CheckedConfig, parse
from lamm_pipeline.orchestration.failures import sentences_as_failures
from lamm_pipeline.orchestration.instance import ACTOR_TAG
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.review.requests import DecisionRequest, carry_out
from lamm_pipeline.settings import actor


class DecisionConfig(DecisionRequest, CheckedConfig):
    """What somebody says about one recording."""

    recording: str = Field(description="Key of the recording.")


@dg.op(description="Check the decisions, note where in the data they are, and remember them.")
def take_decisions(context: dg.OpExecutionContext, config: DecisionConfig, workspace: Workspace) -> list[int]:
    """Take decisions; returns their ids."""
    with sentences_as_failures():
        request = parse(DecisionRequest, config.model_dump(include=set(DecisionRequest.model_fields)), "the decisions")
        report = carry_out(
            workspace.store,
            workspace.catalog,
            workspace.ontology,
            workspace.false_positive_types,
            config.recording,
            request,
            actor(context.run.tags.get(ACTOR_TAG)),
        )
        ids: list[int] = report["decisions"]
        context.log.info(f"{len(ids)} decisions on {config.recording}.")
        context.add_output_metadata(
            {"recording": config.recording, "decisions": len(ids), "report": dg.MetadataValue.json({"decisions": ids[:50], **report})}
        )
        return ids


@dg.job(
    description="Say something about a recording's data: exclude or keep frames, annotations, sequences or classes, correct classes, name "
    "false positives, set status, labeler and tags, or import a COCO file that came back from a labelling tool."
)
def decide() -> None:
    """Take decisions."""
    take_decisions()
