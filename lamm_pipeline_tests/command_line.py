"""`lamm` called as a person or a script calls it, in the process of the tests. The fixture `own_environment` belongs to it."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from lamm_pipeline.cli.app import app

PROGRAM = (sys.executable, "-m", "lamm_pipeline.cli.app")
"""The same as a process of its own."""


def lamm(*arguments: str | Path, code: int = 0) -> Any:
    """Outcome of a call that ends with this exit code and without a stack trace; the environment is as before."""
    before = dict(os.environ)
    try:
        outcome = CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)
    finally:
        os.environ.clear()
        os.environ.update(before)
    assert outcome.exit_code == code, outcome.output
    assert "Traceback" not in outcome.output
    assert "Stack Trace" not in outcome.output
    return outcome


def printed(*arguments: str | Path, code: int = 0) -> Any:
    """The one JSON value on standard output."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(lamm(*arguments, "--json", code=code).stdout, parse_constant=refuse)


def refused(*arguments: str | Path) -> str:
    """What a refused call says; there is nothing else on standard output."""
    outcome = lamm(*arguments, code=2)
    assert outcome.stdout == ""
    assert outcome.stderr.startswith("Error: ")
    return str(outcome.stderr)
