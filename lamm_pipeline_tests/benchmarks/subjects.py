"""What can be measured, by name: each subject is the function `run` of the module of its name."""

from importlib import import_module

from lamm_pipeline_tests.benchmarks.harness import Subject

SUBJECTS = (
    "extraction",
    "detection",
    "memory",
    "overhead",
    "tracking",
    "estimate",
    "profile",
    "gifs",
    "clustering",
    "diversity",
    "near_duplicates",
    "prepare",
    "stratified",
    "uncertainty",
    "scene_library",
    "masklet_memory",
    "scenes",
)


def subject(name: str) -> Subject:
    """The subject with this name. Imported only now: each needs other libraries, and no environment has all of them."""
    run: Subject = import_module(f"lamm_pipeline_tests.benchmarks.{name}").run
    return run
