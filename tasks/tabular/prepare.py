"""Writes the table that train.py reads, scikit-learn's measurements of 569 tumours: DIRECTORY/tumours.csv."""

import argparse
import csv
from pathlib import Path

from sklearn.datasets import load_breast_cancer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    directory = parser.parse_args().directory
    tumours = load_breast_cancer()
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / "tumours.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([*tumours.feature_names, "malignant"])
        for measurements, target in zip(tumours.data, tumours.target, strict=True):
            rows.writerow([*measurements, int(tumours.target_names[target] == "malignant")])


if __name__ == "__main__":
    main()
