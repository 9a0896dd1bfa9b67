"""`lamm hotspots`: of which scenes models are least sure, and what to curate next."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from lamm_pipeline.cli import options
from lamm_pipeline.cli.session import Session, open_session
from lamm_pipeline.datasets.frame_ranking import KEY
from lamm_pipeline.errors import InputError
from lamm_pipeline.scenes.hotspots.find_hotspots import digest, scene_inputs, words
from lamm_pipeline.scenes.hotspots.published import Hotspots, frame_page, published
from lamm_pipeline.scenes.library.collect import known

LISTED = 20


@options.command
def hotspots(
    model: Annotated[str | None, typer.Option(help="Only scores by this model.", show_default=False)] = None,
    tag: Annotated[str | None, typer.Option(help="Only scenes with this tag.", show_default=False)] = None,
    listed: Annotated[int, typer.Option("--list", min=0, help="How many scenes to list; --json tells all.")] = LISTED,
    refresh: Annotated[bool, typer.Option("--refresh", help="Bring them up to the present first: the asset uncertainty_hotspots.")] = False,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Rank scenes by the highest uncertainty of a frame over all models, tell which tags models are less sure of, and propose what is next.

        lamm hotspots --refresh
        lamm hotspots --model production-classifier-v3.2 --tag rain

    A dataset of the frames: `lamm dataset create NAME --hard-cases-top 200`.
    """
    with open_session(root) as session:
        if refresh:
            session.execute("refresh_scenes", None, [KEY.asset], {})
        found = published(session.workspace.store)
        if found is None:
            raise InputError("There are no hotspots yet. Make them with `lamm hotspots --refresh`.")
        _check(found, model, tag)
        if not refresh and _outdated(session):
            options.note(
                "Uncertainty, tags or labelling have changed since. `lamm hotspots --refresh` brings the hotspots up to the present."
            )
        content = _content(session, found, model, tag)
    if as_json:
        options.print_json(content)
    else:
        _show(content, listed)


def _check(found: Hotspots, model: str | None, tag: str | None) -> None:
    for what, given, there in (
        ("model", model, sorted({row.model_id for row in found.scores})),
        ("tag", tag, sorted({each for row in found.scores for each in row.tags})),
    ):
        if given is not None and given not in there:
            raise InputError(
                f"No scored scene has the {what} {given!r}. There {'is' if len(there) == 1 else 'are'}: {', '.join(there) or 'none'}."
            )


def _outdated(session: Session) -> bool:
    workspace = session.workspace
    artifact = workspace.store.current(KEY)
    told = known(workspace.catalog, session.settings.root)
    inputs = scene_inputs(workspace.store, told, workspace.catalog.decisions.watermarks())
    return artifact is not None and artifact.manifest.identity.files.get("scenes") != digest(inputs)


def _content(session: Session, found: Hotspots, model: str | None, tag: str | None) -> dict[str, Any]:
    store, server = session.workspace.store, session.settings.report_url

    def of_model(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row for row in rows if model in (None, row["model_id"])]

    ranking = [
        {
            **asdict(row),
            "captured_at": None if row.captured_at is None else row.captured_at.isoformat(),
            "evaluated_at": row.evaluated_at.isoformat(),
            "link": server + frame_page(store, row.scene_id, row.frame_index),
        }
        for row in found.ranking(model, tag)
    ]
    proposals = [
        {**each, "link": server + frame_page(store, each["scene_id"], each["frame_index"])}
        for each in found.summary["proposals"]
        if tag is None or tag in each["tags"]
    ]
    return {
        "version": found.version,
        "counts": found.summary["counts"],
        "ranking": ranking,
        "views": of_model(found.summary["views"]),
        "insights": [each for each in of_model(found.summary["insights"]) if tag in (None, each["tag"])],
        "proposals": of_model(proposals),
        "left_out": found.summary["left_out"],
    }


def _show(content: dict[str, Any], listed: int) -> None:
    ranking = content["ranking"]
    rows = [
        {
            "scene": each["scene_id"],
            "max": f"{each['max_score']:.4g}",
            "of": words(each["score_kind"]),
            "model": each["model_id"],
            "evaluated": each["evaluated_at"][:10],
            "captured": (each["captured_at"] or "")[:16].replace("T", " "),
            "tags": ", ".join(each["tags"]),
            "frame": each["link"],
        }
        for each in ranking[:listed]
    ]
    options.print_table(rows, "No scene has uncertainty yet. `lamm evaluation add` takes in what a model predicts.")
    if len(ranking) > listed:
        options.say(f"... and {len(ranking) - listed} more")
    kinds = sorted({words(each["score_kind"]) for each in ranking})
    if len(kinds) > 1:
        options.note(f"Scores of different kinds stand side by side ({', '.join(kinds)}) and cannot be compared; --model compares.")
    for view in content["views"]:
        tags = [
            {
                "tag": "(all scenes)" if each["tag"] is None else each["tag"],
                "scenes": each["scenes"],
                "mean": f"{each['mean']:.4g}",
                "interval": "" if each["interval"] is None else f"{each['interval']['low']:.4g} to {each['interval']['high']:.4g}",
                "quartiles": " / ".join(f"{each['box'][name]:.4g}" for name in ("first_quartile", "median", "third_quartile")),
            }
            for each in view["tags"]
        ]
        options.say(f"\n{view['model_id']}, {words(view['score_kind'])}, means of scenes")
        options.print_table(tags, "")
    if content["insights"]:
        options.say()
    for each in content["insights"]:
        options.say(f"- {each['sentence']}")
    if content["proposals"]:
        options.say("\nTo curate next")
        options.print_table(
            [
                {
                    "scene": each["scene_id"],
                    "frame": each["frame_index"],
                    "score": f"{each['score']:.4g}",
                    "less sure than of": f"{100 * each['standing']:.0f} % of {each['compared_scenes']}"
                    if each["compared_scenes"] > 1
                    else "",
                    "later, for it": each["later"] or "",
                    "link": each["link"],
                }
                for each in content["proposals"][:listed]
            ],
            "",
        )
    left_out = content["counts"]["left_out"]
    if left_out:
        first = content["left_out"][0]
        options.note(f"{left_out} are left out, the first {first['recording']}: {first['reason']}")
