"""Trains a support vector machine on scikit-learn's handwritten digits, and says how well it reads them."""

import argparse
import csv

from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.svm import SVC

SEED = 0


def main() -> None:
    options = parse()
    images, digits = load_digits(return_X_y=True)
    model = SVC(C=options.C, gamma=options.gamma, kernel=options.kernel, shrinking=options.shrinking)
    folds = StratifiedKFold(n_splits=5, shuffle=True, random_state=SEED)
    predicted = cross_val_predict(model, images, digits, cv=folds)
    write_confusion(confusion_matrix(digits, predicted).tolist())
    accuracy = accuracy_score(digits, predicted)
    f1 = f1_score(digits, predicted, average="macro")
    print(f"Training: accuracy={accuracy:.4f}, f1={f1:.4f}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--C", type=float, required=True, help="how much a wrong digit costs")
    parser.add_argument("--gamma", type=float, required=True, help="how near an image has to be to matter")
    parser.add_argument("--kernel", choices=["rbf", "poly", "sigmoid", "linear"], required=True)
    parser.add_argument("--shrinking", action="store_true", help="use the shrinking heuristic")
    return parser.parse_args()


def write_confusion(counts: list[list[int]]) -> None:
    """Leave confusion.csv in the task's directory: a row for each digit, a column for each predicted one."""
    with open("confusion.csv", "w", newline="") as file:
        csv.writer(file).writerows(counts)


if __name__ == "__main__":
    main()
