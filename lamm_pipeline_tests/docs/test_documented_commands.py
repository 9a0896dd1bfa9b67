"""Commands that the documentation and the help texts show: all are understood, and those of operations.md are run where they can be."""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from lamm_pipeline.cli.app import app
from lamm_pipeline.cli.running import asset_config_of
from lamm_pipeline.sample.render import render_sample
from lamm_pipeline.sample.settings import SampleSettings
from lamm_pipeline_tests.command_line import lamm
from lamm_pipeline_tests.docs.feature_list import REPOSITORY

pytestmark = pytest.mark.usefixtures("own_environment")

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
OPERATIONS = REPOSITORY / "docs" / "operations.md"
PROGRAM = typer.main.get_command(app)

ON_LIVE_RUNS = {f"lamm {action} drive --root data" for action in ("pause", "resume", "cancel", "restart")}
"""Need a run that is under way or was stopped: `cli/test_operating.py` gives them to such runs."""

CHEAPER = {"lamm run drive --root data2": ["--no-export"]}
"""A recording of two frames cannot be split; `test_pipeline.py` exports."""

OF_DAGSTER = {f"DAGSTER_HOME=$PWD/data/dagster dagster instance concurrency set io {limit}" for limit in (0, 2)}
"""What they do to runs is in `stress/test_live.py`."""


def lines_of_blocks(page: Path) -> Iterator[str]:
    """Lines of the page's code blocks, fenced or indented, without comments."""
    fenced = False
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            yield line.split(" # ")[0].strip()


def examples(command: Any) -> Iterator[str]:
    """Lines of the help texts of a command and those below it."""
    yield from (line.strip() for line in (command.help or "").splitlines())
    for each in getattr(command, "commands", {}).values():
        yield from examples(each)


def calls(lines: Iterator[str]) -> list[str]:
    """Calls of `lamm` among the lines; one line may chain several, and set variables first."""
    parts = (part.strip() for line in lines for part in line.split("&&"))
    return [re.sub(r"^([A-Z_]+=\S+ )+", "", part) for part in parts if re.match(r"([A-Z_]+=\S+ )*lamm ", part)]


SHOWN = sorted({call for page in PAGES for call in calls(lines_of_blocks(page))} | set(calls(examples(PROGRAM))))


def test_there_are_commands_to_look_at() -> None:
    assert len(SHOWN) > 30
    assert {shlex.split(call)[1] for call in SHOWN} >= {"run", "status", "pause", "resume", "cancel", "restart", "verify", "gc", "dataset"}


@pytest.mark.parametrize("call", SHOWN)
def test_a_command_that_is_shown_is_understood(call: str) -> None:
    """Its options, their values and its settings exist; nothing is run."""
    command: Any = PROGRAM
    words = shlex.split(call)[1:]
    while hasattr(command, "commands") and not (command.invoke_without_command and words[:1] and words[0].startswith("-")):
        name, words = words[0], words[1:]
        assert name in command.commands, f"there is no command {name}"
        command = command.commands[name]
    context = command.make_context(command.name, words)
    assert not context.args
    asset_config_of(None, context.params.get("sets") or [], {}, fast=context.params.get("fast", False))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        ("lamm rum a", "there is no command rum"),
        ("lamm run a --fsp 5", "No such option"),
        ("lamm scenes --wher x", "No such option"),
        ("lamm scenes tog add x", "there is no command tog"),
        ("lamm gc --draft-days old", "valid number"),
        ("lamm run a --set frames.fast=1", "fast"),
    ],
)
def test_a_command_that_is_wrong_is_not_understood(call: str, sentence: str) -> None:
    with pytest.raises(Exception, match=sentence):
        test_a_command_that_is_shown_is_understood(call)


def test_the_commands_of_operations_do_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the page, on a recording that was run; what needs a live run is only understood above."""
    monkeypatch.chdir(tmp_path)
    render_sample(tmp_path / "in" / "drive.svo2", SampleSettings(frames=2, width=320, height=180))
    lamm("run", "in/drive.svo2", "--root", "data", "--stage", "extraction")
    shown = [line for line in lines_of_blocks(OPERATIONS) if line]
    said: dict[str, str] = {}
    for line in shown:
        words = shlex.split(line)
        if line in ON_LIVE_RUNS | OF_DAGSTER:
            continue
        if words[0] == "mv":
            shutil.move(words[1], words[2])
        else:
            assert words[0] == "lamm", f"a command that this test does not know: {line}"
            said[line] = lamm(*words[1:], *CHEAPER.get(line, ())).stdout
    assert said.keys() | ON_LIVE_RUNS | OF_DAGSTER | {"mv data data2"} == set(shown)
    assert "complete" in said["lamm status --root data"]
    assert "Everything is as it was published." in said["lamm verify drive --root data"]
    assert (tmp_path / "out" / "drive" / "image_left" / "000001.png").is_file()
    assert "Everything is as it was published." in said["lamm verify --root data2"]
    assert "tracks" in said["lamm run drive --root data2"]
