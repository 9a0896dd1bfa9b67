"""Everything that is set from outside, in one place.

| variable | meaning | default |
| --- | --- | --- |
| `LAMM_ROOT` | folder of artifacts, datasets, catalog and Dagster's instance | `lamm-data` in the working directory |
| `LAMM_STORE` | where artifacts are published: `s3://BUCKET/PREFIX`; the root then holds drafts and fetched files | the root |
| `LAMM_S3_ENDPOINT` | URL of the S3 server that has the bucket | Amazon's |
| `LAMM_CATALOG_URL` | SQLAlchemy URL of the catalog; it may hold a password | SQLite file `catalog.sqlite` in the root |
| `LAMM_CALIBRATION_DIR` | folder with `SN<serial>.conf` files | none |
| `LAMM_ONTOLOGY` | YAML file of the classes | the one in the package |
| `LAMM_FALSE_POSITIVES` | YAML file of the words for false alarms | the one in the package |
| `LAMM_EXECUTOR` | `multiprocess` or `in_process` | `multiprocess` |
| `LAMM_DEVICE` | `cpu` or `cuda`; `cuda` sends model stages to the `gpu` pool | `cpu` |
| `LAMM_WATCH` | folders that the sensor `new_recordings` watches beside the source datasets, separated like `PATH` | none |
| `LAMM_WATCH_EXPORTS` | folders that the sensor `new_annotation_exports` watches, separated like `PATH` | none |
| `LAMM_WATCH_EVALUATIONS` | folders whose evaluations the sensor `new_evaluations` takes in, separated like `PATH` | none |
| `LAMM_WATCH_BATCH` | most files that a sensor takes in at one tick, 1 to 1000 | 100 |
| `LAMM_REPORT_URL` | where people reach the report server, for links to it | `http://127.0.0.1:3001`, or where `lamm up` starts it |
| `LAMM_DAGSTER_URL` | where people reach Dagster's UI, for links to it | `http://127.0.0.1:3000`, or where `lamm up` starts it |
| `LAMM_REPORT_TOKEN` | what requests to the report server must know; needed where other machines reach it | none |
| `LAMM_USER` | who acts, when `--as` does not say | the user of the operating system |

Credentials for S3 are none of these: boto3 finds them (`AWS_ACCESS_KEY_ID`, `AWS_PROFILE`, a role), and nothing here reads or repeats them.
"""

import getpass
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from lamm_pipeline.errors import InputError

EXECUTORS = ("multiprocess", "in_process")
DEVICES = ("cpu", "cuda")
REPORT_URL = "http://127.0.0.1:3001"
DAGSTER_URL = "http://127.0.0.1:3000"

_ACTING: ContextVar[str | None] = ContextVar("acting", default=None)


@dataclass(frozen=True)
class Settings:
    """The environment, read and checked; the module's docstring has the table of variables."""

    root: Path
    store: str | None
    s3_endpoint: str | None
    catalog_url: str
    calibration_folder: Path | None
    ontology_file: Path | None
    false_positives_file: Path | None
    executor: str
    device: str
    watch_folders: tuple[Path, ...]
    watch_export_folders: tuple[Path, ...]
    watch_evaluation_folders: tuple[Path, ...]
    watch_batch: int
    report_url: str
    dagster_url: str
    report_token: str | None = field(repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ, root: Path | None = None) -> Self:
        """Read the settings.

        Args:
            environment: variables to read.
            root: takes the place of `LAMM_ROOT`.

        Raises:
            InputError: a variable has a value that is not allowed.
        """
        root = (root or Path(environment.get("LAMM_ROOT") or "lamm-data")).expanduser().resolve()
        return cls(
            root=root,
            store=environment.get("LAMM_STORE") or None,
            s3_endpoint=environment.get("LAMM_S3_ENDPOINT") or None,
            catalog_url=environment.get("LAMM_CATALOG_URL") or f"sqlite:///{root / 'catalog.sqlite'}",
            calibration_folder=_path(environment.get("LAMM_CALIBRATION_DIR")),
            ontology_file=_path(environment.get("LAMM_ONTOLOGY")),
            false_positives_file=_path(environment.get("LAMM_FALSE_POSITIVES")),
            executor=_one_of("LAMM_EXECUTOR", environment.get("LAMM_EXECUTOR") or "multiprocess", EXECUTORS),
            device=_one_of("LAMM_DEVICE", environment.get("LAMM_DEVICE") or "cpu", DEVICES),
            watch_folders=_folders(environment.get("LAMM_WATCH", "")),
            watch_export_folders=_folders(environment.get("LAMM_WATCH_EXPORTS", "")),
            watch_evaluation_folders=_folders(environment.get("LAMM_WATCH_EVALUATIONS", "")),
            watch_batch=_whole("LAMM_WATCH_BATCH", environment.get("LAMM_WATCH_BATCH") or "100", 1, 1000),
            report_url=(environment.get("LAMM_REPORT_URL") or REPORT_URL).rstrip("/"),
            dagster_url=(environment.get("LAMM_DAGSTER_URL") or DAGSTER_URL).rstrip("/"),
            report_token=environment.get("LAMM_REPORT_TOKEN") or None,
        )


@contextmanager
def acting(name: str | None) -> Iterator[None]:
    """Inside, `actor()` is `name`; None changes nothing."""
    token = _ACTING.set(name or _ACTING.get())
    try:
        yield
    finally:
        _ACTING.reset(token)


def actor(given: str | None = None) -> str:
    """Who acts: `given`, else whoever `acting` names, else `LAMM_USER`, else the user of the operating system."""
    return given or _ACTING.get() or os.environ.get("LAMM_USER") or getpass.getuser()


def _path(value: str | None) -> Path | None:
    return Path(value).expanduser().resolve() if value else None


def _folders(value: str) -> tuple[Path, ...]:
    return tuple(Path(part).expanduser().resolve() for part in value.split(os.pathsep) if part.strip())


def _one_of(variable: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise InputError(f"{variable} is {value!r}; set it to one of {', '.join(allowed)}.")
    return value


def _whole(variable: str, value: str, smallest: int, largest: int) -> int:
    if not value.isascii() or not value.isdigit() or not smallest <= int(value) <= largest:
        raise InputError(f"{variable} is {value!r}; set it to a whole number from {smallest} to {largest}.")
    return int(value)
