"""Run benchmarks: `python -m lamm_pipeline_tests.benchmarks [NAME...] --out FOLDER`; ends with 1 when a bound is missed."""

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

from lamm_pipeline_tests.benchmarks.harness import Means, NotRunError, print_table
from lamm_pipeline_tests.benchmarks.subjects import SUBJECTS, subject


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure: {', '.join(SUBJECTS)}; all by default")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"), help="folder for the figures and for what they are made with")
    parser.add_argument("--peers", type=Path, help="Python of the environment with the libraries to compare with")
    parser.add_argument("--tiny", action="store_true", help="next to no work, to see that a subject works")
    chosen = parser.parse_args()
    unknown = set(chosen.names) - set(SUBJECTS)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(SUBJECTS)}")
    data = os.environ.get("LAMM_SHARED_DATA")
    missed = 0
    for name in chosen.names or SUBJECTS:
        folder = chosen.out / "work" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        means = Means(folder.resolve(), (chosen.out / "cache").resolve(), Path(data) if data else None, chosen.peers, chosen.tiny)
        try:
            rows = subject(name)(means)
        except NotRunError as reason:
            sys.stdout.write(f"## {name}\n\nnot run: {reason}\n\n")
            continue
        finally:
            shutil.rmtree(folder)
        (chosen.out / f"{name}.json").write_text(json.dumps([row.to_json() for row in rows], indent=2) + "\n")
        sys.stdout.write(print_table(name, rows) + "\n")
        sys.stdout.flush()
        missed += sum(row.met is False for row in rows)
    if missed:
        sys.stdout.write(f"{missed} bounds are missed.\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
