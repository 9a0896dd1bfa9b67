"""Imports a COCO folder and exports it with its images; started by `prepare.py` with the Python of the peers' environment."""

import sys


def main(source: str, target: str) -> None:
    from datumaro import Dataset

    Dataset.import_from(source, "coco").export(target, "coco", save_media=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
