"""The command `lamm`: everything the UI does, for scripts. Each command's help teaches it."""

import typer

from lamm_pipeline.cli import (
    curating,
    datasets,
    evaluating,
    evaluations,
    exporting,
    gifs,
    hotspots,
    importing,
    operating,
    preparing,
    recordings,
    reviewing,
    running,
    scenes,
    sequences,
    serving,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="From stereo recordings (ZED, SVO2) to validated training datasets.\n\n"
    "Start with `lamm sample demo.svo2` for a recording with known truth, then `lamm run demo.svo2 --root data` for the whole job, "
    "and `lamm up --root data` for the UI.",
)
dataset_app = typer.Typer(
    no_args_is_help=True, help="Create and look at dataset versions. A version never changes; a change is a new version."
)
app.add_typer(dataset_app, name="dataset")
app.command("import")(importing.import_)
sequences_app = typer.Typer(no_args_is_help=True, help="Make, compare and export what is to be reviewed: each object once over time.")
app.add_typer(sequences_app, name="sequences")
label_app = typer.Typer(
    no_args_is_help=True, help="How far people are with labelling recordings; COCO files for labelling tools, and back from them."
)
app.add_typer(label_app, name="label")
evaluation_app = typer.Typer(no_args_is_help=True, help="Take in what models predict, and see of which frames they are unsure.")
app.add_typer(evaluation_app, name="evaluation")

scenes_app = typer.Typer(invoke_without_command=True)
scene_tag_app = typer.Typer(no_args_is_help=True, help="Put tags on scenes, or take them off.")
app.add_typer(scenes_app, name="scenes")
scenes_app.add_typer(scene_tag_app, name="tag")

for command in (
    recordings.browse,
    recordings.info,
    recordings.sample,
    recordings.pack,
    recordings.add,
    recordings.scan,
    running.run,
    running.status,
    preparing.prepare,
    serving.up,
    serving.reports,
    operating.pause,
    operating.resume,
    operating.cancel,
    operating.restart,
    operating.checkout,
    operating.verify,
    operating.gc,
    gifs.gifs,
    evaluating.evaluate,
    reviewing.decide,
    reviewing.decisions,
    curating.curate,
    curating.near_duplicates,
    hotspots.hotspots,
):
    app.command()(command)
dataset_app.command("create")(datasets.create)
dataset_app.command("list")(datasets.list_versions)
dataset_app.command("show")(datasets.show)
dataset_app.command("validate")(datasets.validate)
dataset_app.command("edit")(datasets.edit)
dataset_app.command("delete")(datasets.delete)
dataset_app.command("diff")(datasets.diff)
dataset_app.command("zip")(datasets.zip_export)
dataset_app.command("sam2")(exporting.sam2)
sequences_app.command("run")(sequences.run)
sequences_app.command("compare")(sequences.compare)
sequences_app.command("export")(sequences.export)
label_app.command("show")(reviewing.show_labels)
label_app.command("status")(reviewing.set_status)
label_app.command("labeler")(reviewing.set_labeler)
label_app.command("tag")(reviewing.set_tags)
label_app.command("export")(reviewing.export_labels)
label_app.command("import")(reviewing.import_labels)
evaluation_app.command("add")(evaluations.add)
evaluation_app.command("list")(evaluations.list_evaluations)
evaluation_app.command("show")(evaluations.show)
evaluation_app.command("ensemble")(evaluations.ensemble)
scenes_app.callback()(scenes.scenes)
scenes_app.command("refresh")(scenes.refresh)
scenes_app.command("view")(scenes.view)
scenes_app.command("label")(scenes.label)
scene_tag_app.command("add")(scenes.add_tag)
scene_tag_app.command("remove")(scenes.remove_tag)

if __name__ == "__main__":
    app()
