"""The base of every asset's config: science settings from plain pydantic models, plus how to run."""

from typing import Any, ClassVar

import dagster as dg
import pydantic
from pydantic import Field

from lamm_pipeline.errors import InputError


class CheckedConfig(dg.Config):
    """A config whose wrong values fail the step at once, with a sentence and without retries."""

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except pydantic.ValidationError as error:
            raise dg.Failure(explain(error, type(self).__name__), allow_retries=False) from None


class StageConfig(CheckedConfig):
    """Operational settings of every stage; they never change what is computed and are no part of a version.

    A stage's config class inherits from this class and from the stage's settings model.
    """

    OPERATIONAL: ClassVar[frozenset[str]] = frozenset()
    """Fields of the inheriting class that do not change what is computed either."""

    workers: int | None = Field(None, ge=1, le=64, description="Threads or processes for frame work; empty means one per processor.")
    restart: bool = Field(False, description="Throw the checkpoint of an interrupted run away and start from the first frame.")
    force: bool = Field(False, description="Compute again although this very version is published already.")


def explain(error: pydantic.ValidationError, where: str) -> str:
    """One sentence for each wrong value: field, what was given, what is allowed."""
    problems = "; ".join(
        f"{'.'.join(str(part) for part in problem['loc']) or 'value'} = {problem['input']!r}: {problem['msg'].lower()}"
        for problem in error.errors()
    )
    return f"Wrong config for {where}: {problems}. Correct the value and launch again."


def parse(model: type[pydantic.BaseModel], values: dict[str, Any], where: str) -> Any:
    """Build a settings model from a person's values.

    Raises:
        InputError: a value is not allowed; the sentence names it.
    """
    try:
        return model(**values)
    except pydantic.ValidationError as error:
        raise InputError(explain(error, where)) from None


def science(config: StageConfig) -> dict[str, Any]:
    """The settings that decide what is computed, as JSON values: everything but `StageConfig`'s own fields and the operational ones."""
    return config.model_dump(mode="json", exclude={*StageConfig.model_fields, *config.OPERATIONAL})
