"""The rules of the house that linters cannot express."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lamm_pipeline

PACKAGE = Path(lamm_pipeline.__file__).parent
TESTS = Path(__file__).parent
STAGES = (
    "recordings",
    "extraction",
    "segmentation",
    "reconstruction",
    "tracking",
    "review",
    "curation",
    "imports",
    "datasets",
    "uncertainty",
    "scenes",
    "evaluation",
    "sample",
)
MAY_KNOW_DAGSTER = {"assets.py", "checks.py", "jobs.py", "sensors.py", "schedules.py", "resources.py"}
FOUNDATION = ("errors.py", "sample_table.py", "settings.py", "streaming.py", "geometry", "ontology", "storage", "catalog")
HEAVY = ("torch", "torchvision", "sam2", "transformers", "datasets", "mlflow", "rerun", "pyzed", "boto3")


def modules(*places: str) -> list[Path]:
    return [path for place in places for path in ([PACKAGE / place] if place.endswith(".py") else sorted((PACKAGE / place).rglob("*.py")))]


def imported(path: Path) -> set[str]:
    """The modules that a file imports, whole."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def test_in_a_stage_only_its_dagster_modules_import_dagster() -> None:
    plain = [path for path in modules(*STAGES) if path.name not in MAY_KNOW_DAGSTER] + modules(*FOUNDATION)
    assert [str(path.relative_to(PACKAGE)) for path in plain if "dagster" in {name.split(".")[0] for name in imported(path)}] == []


def test_what_tests_share_is_no_test_module() -> None:
    shared = [(path.name, name) for path in TESTS.rglob("*.py") for name in imported(path) if name.rpartition(".")[2].startswith("test_")]
    assert shared == []


def test_init_modules_are_empty() -> None:
    assert [str(path) for path in PACKAGE.rglob("__init__.py") if path.read_text().strip()] == []


@pytest.mark.requirement("NFR-02", "NFR-08")
def test_importing_the_definitions_loads_no_heavy_library() -> None:
    code = f"import sys, lamm_pipeline.definitions; print([name for name in {HEAVY!r} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
