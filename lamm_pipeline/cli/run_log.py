"""What a run says on standard error while it goes: sentences. Stack traces are for the UI and for `--log-level info`."""

import logging

import dagster as dg

from lamm_pipeline.cli.options import note

NOT_RUN = "Dependencies for step "
"""So begins what Dagster says of each step that waits for one that has failed: before the reason is said, and at the level of errors."""


@dg.logger(config_schema={"log_level": str}, description="What assets say, and that a failed step is tried again; one line each.")
def sentences(context: dg.InitLoggerContext) -> logging.Logger:
    """The logger `console` of runs that `lamm` starts."""
    logger = logging.getLogger("lamm.run")
    logger.propagate = False
    logger.setLevel(logging.DEBUG)  # the level of that a step is tried again
    logger.handlers = [_Sentences(logging.getLevelName(str(context.logger_config["log_level"])))]
    return logger


class _Sentences(logging.Handler):
    def __init__(self, least: int) -> None:
        super().__init__()
        self._least = least

    def emit(self, record: logging.LogRecord) -> None:
        told = getattr(record, "dagster_meta", None)
        event = told["dagster_event"] if told is not None else None
        if told is not None and event is None and record.levelno >= self._least and not told["orig_message"].startswith(NOT_RUN):
            note(f"  {record.levelname.lower()}: {told['step_key']}: {told['orig_message']}")
        elif event is not None and event.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY:
            data = event.step_retry_data
            error = data.error.cause if data.error is not None and data.error.cause is not None else data.error
            message = error.message.partition("Failure: ")[2].strip() if error is not None else ""
            note(f"  {event.step_key}: {message or 'it failed.'} It is tried again in {data.seconds_to_wait or 0:.0f} s.")
