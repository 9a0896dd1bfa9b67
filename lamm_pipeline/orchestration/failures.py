"""The one place where errors become Dagster failures, and the one retry policy."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from lamm_pipeline.errors import InputError

IO_RETRIES = dg.RetryPolicy(max_retries=3, delay=60, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""For faults of the machine (disk, network): after 60, 180 and 420 seconds, each up to 60 more or less."""

_NOT_MENDED_BY_WAITING = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)


@contextmanager
def sentences_as_failures() -> Iterator[None]:
    """Turn bad input into a failure that shows its sentence and is not retried; missing files, lacking rights and bugs too are not retried.

    Only faults of the machine (other `OSError`) pass through and meet the retry policy.
    """
    try:
        yield
    except InputError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    except _NOT_MENDED_BY_WAITING as error:
        sentence = f"{error.filename or 'A file'}: {error.strerror or error}. Put it in its place or mend its rights, then run again."
        raise dg.Failure(sentence, allow_retries=False) from error
    except (dg.Failure, dg.RetryRequested, OSError):
        raise
    except Exception as error:
        raise dg.Failure(f"{type(error).__name__}: {error}", allow_retries=False) from error
