"""What all commands share: options, the frame around a command, output for people or for scripts."""

import functools
import inspect
import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ParamSpec

import typer

from lamm_pipeline.errors import InputError
from lamm_pipeline.orchestration.failures import FAULTS, fault_sentence
from lamm_pipeline.settings import acting

Arguments = ParamSpec("Arguments")
USER_ERROR = 2
FAULT = 1


class LogLevel(StrEnum):
    """How much is told on standard error."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


Root = Annotated[
    Path | None,
    typer.Option("--root", help="Folder of artifacts, datasets and catalog. Default: LAMM_ROOT, else ./lamm-data.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value to standard output, for scripts.")]
Log = Annotated[LogLevel, typer.Option("--log-level", help="How much to tell on standard error.")]
As = Annotated[
    str | None,
    typer.Option("--as", help="Who does this, for the audit trail. Default: LAMM_USER, else the system's user.", show_default=False),
]

From = Annotated[
    datetime | None,
    typer.Option("--from", formats=["%Y-%m-%d"], help="Recordings of this day and later, by their first frame, UTC.", show_default=False),
]
To = Annotated[
    datetime | None,
    typer.Option("--to", formats=["%Y-%m-%d"], help="Recordings of this day and earlier. Default with --from: today.", show_default=False),
]


def command(function: Callable[Arguments, None]) -> Callable[..., None]:
    """Frame of a command: gives it `--log-level` and `--as`; bad input is one sentence with exit code 2, a fault of the machine with 1."""

    @functools.wraps(function)
    def framed(*args: Any, log_level: LogLevel, as_: str | None, **kwargs: Any) -> None:
        logging.basicConfig(level=log_level.upper(), stream=sys.stderr, format="%(levelname)s %(message)s", force=True)
        try:
            with acting(as_):
                function(*args, **kwargs)
        except InputError as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(USER_ERROR) from None
        except BrokenPipeError:
            raise  # who reads the output has gone away, as in `lamm status | head`
        except FAULTS as error:
            typer.echo(f"Error: {fault_sentence(error)}", err=True)
            raise typer.Exit(FAULT) from None

    signature = inspect.signature(function)
    keyword = inspect.Parameter.KEYWORD_ONLY
    shared = [
        inspect.Parameter("log_level", keyword, default=LogLevel.warning, annotation=Log),
        inspect.Parameter("as_", keyword, default=None, annotation=As),
    ]
    framed.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *shared])  # type: ignore[attr-defined]
    framed.__annotations__ = {**function.__annotations__, "log_level": Log, "as_": As}
    return framed


def say(text: str = "") -> None:
    """A line for people, on standard output."""
    typer.echo(text)


def note(text: str) -> None:
    """A line about what is going on, on standard error, so that `--json` stays clean."""
    typer.echo(text, err=True)


def print_json(value: Any) -> None:
    """A JSON value for scripts, on standard output."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_table(rows: Sequence[Mapping[str, Any]], empty: str) -> None:
    """A plain table; `empty` is said when there are no rows."""
    if not rows:
        say(empty)
        return
    cells = [[str(name) for name in rows[0]], *[["" if value is None else str(value) for value in row.values()] for row in rows]]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    for line in cells:
        say("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())


def day(value: datetime | None) -> date | None:
    """The day that an option names."""
    return None if value is None else value.date()
