"""The one place where errors become Dagster failures, and the one retry policy."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from lamm_pipeline.errors import InputError

IO_RETRIES = dg.RetryPolicy(max_retries=3, delay=60, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""For faults of the machine (disk, network): 60, 120 and 240 seconds, so that no delay passes 300."""

_TRANSIENT = (OSError, ConnectionError, TimeoutError)


class Stopped(dg.DagsterError, dg.DagsterExecutionInterruptedError):
    """Somebody stopped the run.

    Dagster holds an interrupted step against its retry policy: the step would wait a minute and go on, and Ctrl-C would stop nothing. It
    lets its own errors through, so the interruption comes as one of them; as an interruption it still ends the whole run.
    """


@contextmanager
def sentences_as_failures() -> Iterator[None]:
    """Turn bad input into a failure that shows its sentence and is not retried; bugs too are not retried, nor is a stopped run.

    Only faults of the machine pass through and meet the retry policy.
    """
    try:
        yield
    except (dg.DagsterExecutionInterruptedError, KeyboardInterrupt):
        raise Stopped("The run was stopped. What was done up to the last checkpoint is kept.") from None
    except InputError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    except (dg.Failure, dg.RetryRequested, *_TRANSIENT):
        raise
    except Exception as error:
        raise dg.Failure(f"{type(error).__name__}: {error}", allow_retries=False) from error
