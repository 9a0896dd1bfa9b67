"""The report of a validation for people: a page of HTML without scripts, and a page of Markdown."""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import groupby, pairwise
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from lamm_pipeline.datasets.validation.pictures import Picture
from lamm_pipeline.datasets.validation.settings import RuleName
from lamm_pipeline.ontology.ontology import ObjectClass

TITLES = {
    RuleName.missing_annotations: "Missing annotations",
    RuleName.duplicate_frames: "Duplicate frames",
    RuleName.mask_integrity: "Mask integrity",
    RuleName.mask_box_agreement: "Masks fit their boxes",
    RuleName.box_bounds: "Boxes within the image",
    RuleName.box_3d_sanity: "Plausible 3D boxes",
    RuleName.class_balance: "Class balance",
    RuleName.class_missing_from_split: "Classes in every split",
    RuleName.small_objects: "Small objects",
    RuleName.density: "Objects per frame",
    RuleName.near_duplicates: "Near-duplicates across splits",
}
MOST_CLASSES = 40
SHORT = 900
MORE = "\n- … the rest is in the report"
_STATUS = {
    "FAILED": ("Failed", "Exports and training wait until the errors are mended."),
    "PASSED_WITH_WARNINGS": ("Passed with warnings", "Training may go ahead; read the warnings first."),
    "PASSED": ("Passed", "Dataset is ready for training."),
}


def as_html(report: Mapping[str, Any], pictures: Sequence[Picture], classes: Mapping[str, ObjectClass]) -> str:
    """The page.

    Args:
        report: content of `report.json`.
        pictures: of offenders, in the order of the rules.
        classes: for their names.
    """
    word, meaning = _STATUS[report["status"]]
    failures = sum(rule["failures"] for rule in report["rules"])
    return _template().render(
        report=report,
        status_word=word,
        status_meaning=meaning,
        titles=TITLES,
        names={class_id: each.name for class_id, each in classes.items()},
        shown_classes=list(report["classes"].items())[:MOST_CLASSES],
        largest_class=max((row["annotations"] for row in report["classes"].values()), default=0),
        size_labels=_size_labels(report["object_sizes"]["edges"]),
        most_boxes=max((max(row) for row in report["box_positions"]), default=0),
        galleries=[(rule, list(group)) for rule, group in groupby(pictures, lambda picture: picture.rule)],
        failures=failures,
        not_pictured=failures - len(pictures),
    )


def as_text(report: Mapping[str, Any]) -> str:
    """The report as Markdown."""
    lines = [f"# Validation of {report['dataset']}", "", f"**{report['status']}**", ""]
    lines += [f"{report['frames']} frames, {report['annotations']} annotations, {len(report['classes'])} classes.", ""]
    for title, sentences in (
        ("Errors", report["errors"]),
        ("Warnings", report["warnings"]),
        ("Recommendations", report["recommendations"]),
    ):
        if sentences:
            lines += [f"## {title}", "", *(f"- {_cell(sentence)}" for sentence in sentences), ""]
    lines += ["## Checks", "", "| rule | result | finding | first ids |", "| --- | --- | --- | --- |"]
    for rule in report["rules"]:
        outcome = "passed" if rule["passed"] else rule["severity"]
        lines.append(f"| {rule['name']} | {outcome} | {_cell(rule['sentence'])} | {_cell(', '.join(rule['first']))} |")
    lines += [f"| {name} | off | | |" for name in report["switched_off"]]
    splits = list(report["splits"])
    lines += ["", "## Classes", "", f"| class | annotations | share | {' | '.join(splits)} |", "| --- |" + " ---: |" * (len(splits) + 2)]
    for class_id, row in report["classes"].items():
        counts = " | ".join(str(row["splits"][split]) for split in splits)
        lines.append(f"| {_cell(class_id)} | {row['annotations']} | {100 * row['share']:.1f}% | {counts} |")
    lines += ["", "## Splits", "", "| split | frames | annotations | recordings | reviewed empty | unlabelled |"]
    lines.append("| --- |" + " ---: |" * 5)
    for split, row in report["splits"].items():
        numbers = (row[name] for name in ("frames", "annotations", "recordings", "reviewed_empty", "unlabelled"))
        lines.append(f"| {split} | {' | '.join(map(str, numbers))} |")
    return "\n".join(lines) + "\n"


def as_short_text(report: Mapping[str, Any]) -> str:
    """Status, findings and recommendations as Markdown of at most `SHORT` characters, which is shown in line."""
    lines = [f"**{report['status']}**", ""]
    for title, sentences in (("Errors", report["errors"]), ("Warnings", report["warnings"]), ("To do", report["recommendations"])):
        lines += [f"{title}:", *(f"- {_cell(sentence)}" for sentence in sentences), ""] if sentences else []
    text = "\n".join(lines).rstrip()
    if len(text) > SHORT:
        text = text[: SHORT - len(MORE)].rpartition("\n")[0] + MORE
    return text


def _cell(text: str) -> str:
    """Text that cannot end a cell of a table, nor be taken for markup."""
    for mark, instead in (("&", "&amp;"), ("<", "&lt;"), ("\\", "\\\\"), ("|", "\\|"), ("`", "\\`"), ("*", "\\*"), ("[", "\\[")):
        text = text.replace(mark, instead)
    return " ".join(text.split())


def _size_labels(edges: Sequence[float]) -> list[str]:
    """What the bars of the size histogram stand for, as per cent of the image."""
    between = [f"{100 * low:g}–{100 * high:g}%" for low, high in pairwise(edges)]
    return [f"< {100 * edges[0]:g}%", *between, f"> {100 * edges[-1]:g}%"]


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("lamm_pipeline.datasets.validation", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html")
