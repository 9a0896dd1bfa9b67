"""Questions to a library of 10,000 scenes, against reading its Parquet once with pandas; and the library itself, fresh and again."""

import random
import statistics
from dataclasses import replace
from functools import partial

import pandas as pd

from lamm_pipeline.catalog.catalog import Catalog
from lamm_pipeline.scenes.library.collect import collect, known
from lamm_pipeline.scenes.library.present import SceneLibrary
from lamm_pipeline.scenes.library.query import Question, SceneQueries
from lamm_pipeline.scenes.library.scene_table import FILE_NAME, Scene, read, write
from lamm_pipeline_tests.benchmarks.harness import Means, Row, now, take_turns
from lamm_pipeline_tests.scenes.library.scene_worlds import populate, scene

SCENES, FEW = 10_000, 200
QUESTIONS = {
    "first page": Question(),
    "condition and order": Question("max_uncertainty > 0.6 and 'rain' in tags", sort="-max_uncertainty"),
    "search": Question(search="harbour night"),
}
ROWS = 50
LIMIT_S = 2.0


def run(means: Means) -> list[Row]:
    count, rounds = (FEW, 1) if means.tiny else (SCENES, 9)
    scenes = [scene(number, draw=random.Random(number)) for number in range(count)]
    path = means.folder / FILE_NAME
    write(path, scenes)
    queries = SceneQueries(list(read(path)))
    rows = []
    for name, question in QUESTIONS.items():
        took = take_turns({"ours": partial(answer, queries, question), "pandas": partial(pd.read_parquet, path)}, rounds)
        ratio = statistics.median(a.wall / b.wall for a, b in zip(took["ours"].rounds, took["pandas"].rounds, strict=True))
        ours, theirs = (took[each].median.wall for each in ("ours", "pandas"))
        note = "reference: reading the table once with pandas"
        rows.append(Row(f"{name}, {count} scenes: seconds", ours, theirs, at_most=1.0, paired=ratio, note=note))
    return [*rows, *_present(means, scenes)]


def answer(queries: SceneQueries, question: Question) -> int:
    """What the page asks for: a page of scenes, and how much fits in all."""
    return len(queries.page(question, 0, ROWS)) + queries.totals(question).scenes


def _present(means: Means, scenes: list[Scene]) -> list[Row]:
    root = means.folder / "root"
    catalog, store = populate(root, [replace(each, artifacts=()) for each in scenes])
    library = SceneLibrary(store, Catalog(str(catalog.url)), root)
    began = now()
    library.queries()
    opened = now() - began
    catalog.tags.add([scenes[0].scene_id], ["new"], "bench")
    began = now()
    library.queries()
    changed = now() - began
    told = known(catalog, root)
    previous = {each.scene_id: each for each in scenes}
    began = now()
    collect(store, told, previous)
    refreshed = now() - began
    return [
        Row(f"library of {len(scenes)} scenes opened: seconds", opened.wall, note="once for each refresh of the asset"),
        Row(f"after a change of a tag, {len(scenes)} scenes: seconds", changed.wall, LIMIT_S, at_most=1.0, note="reference: limit"),
        Row(f"rows of {len(scenes)} scenes without artifacts collected: seconds", refreshed.wall),
    ]
