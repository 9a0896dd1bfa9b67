"""The command `lamm`: everything the UI does, for scripts. Each command's help teaches it."""

import typer

from lamm_pipeline.cli import datasets, evaluating, operating, recordings, running, sequences

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
sequences_app = typer.Typer(no_args_is_help=True, help="Make, compare and export what is to be reviewed: each object once over time.")
app.add_typer(sequences_app, name="sequences")

for command in (
    recordings.browse,
    recordings.info,
    recordings.sample,
    recordings.pack,
    recordings.add,
    recordings.scan,
    running.run,
    running.status,
    running.up,
    operating.pause,
    operating.resume,
    operating.cancel,
    operating.restart,
    operating.checkout,
    operating.verify,
    operating.gc,
    evaluating.evaluate,
):
    app.command()(command)
dataset_app.command("create")(datasets.create)
dataset_app.command("list")(datasets.list_versions)
dataset_app.command("show")(datasets.show)
sequences_app.command("run")(sequences.run)
sequences_app.command("compare")(sequences.compare)
sequences_app.command("export")(sequences.export)

if __name__ == "__main__":
    app()
