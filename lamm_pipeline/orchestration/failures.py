"""The one place where errors become Dagster failures, and the one retry policy."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from sqlalchemy.exc import OperationalError

from lamm_pipeline.errors import InputError

IO_RETRIES = dg.RetryPolicy(max_retries=3, delay=60, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""For faults of the machine (disk, network): after 60, 180 and 420 seconds, each up to 60 more or less."""

FAULTS = (OSError, OperationalError, sqlite3.OperationalError)
"""Errors of the machine: disk, network, database."""

_NOT_MENDED_BY_WAITING = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)

_HINTS = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EFBIG: "the file is larger than this system allows; raise the limit",
    errno.EROFS: "the disk is read-only; choose another root, or mount it for writing",
    errno.EACCES: "permission is denied; check who owns it",
    errno.EPERM: "permission is denied; check who owns it",
}


def fault_sentence(error: BaseException) -> str:
    """What to tell people about one of `FAULTS`: what failed, on which file, what to do. Work up to the last checkpoint is kept."""
    if not isinstance(error, OSError):
        cause = getattr(error, "orig", None) or error
        return f"The database cannot be used: {cause}. Check that its disk has space and can be written, then run again."
    hint = _HINTS.get(error.errno or 0) or error.strerror or str(error) or type(error).__name__
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{hint}. Run again when that is mended: what was done up to the last checkpoint is kept."


class Stopped(dg.DagsterError, dg.DagsterExecutionInterruptedError):
    """Somebody stopped the run.

    Dagster holds an interrupted step against its retry policy: the step would wait a minute and go on, and Ctrl-C would stop nothing. It
    lets its own errors through, so the interruption comes as one of them; as an interruption it still ends the whole run.
    """


@contextmanager
def sentences_as_failures() -> Iterator[None]:
    """Turn bad input into a failure that shows its sentence and is not retried, like missing files, lacking rights, bugs and a stopped run.

    Only other faults of the machine become failures that meet the retry policy.
    """
    try:
        yield
    except (dg.DagsterExecutionInterruptedError, KeyboardInterrupt):
        raise Stopped("The run was stopped. What was done up to the last checkpoint is kept.") from None
    except InputError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    except _NOT_MENDED_BY_WAITING as error:
        raise dg.Failure(fault_sentence(error), allow_retries=False) from error
    except (dg.Failure, dg.RetryRequested):
        raise
    except FAULTS as error:
        raise dg.Failure(fault_sentence(error)) from error
    except Exception as error:
        raise dg.Failure(f"{type(error).__name__}: {error}", allow_retries=False) from error
