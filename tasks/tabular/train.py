"""Trains boosted trees on a table that lies on the hosts; reports every few trees how well they do."""

import argparse
import hashlib
import hmac
import os
from pathlib import Path

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss, roc_auc_score

TREES = 20  # between two reports
EPOCHS = 6
TEST_SHARE = 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="directory with tumours.csv")
    parser.add_argument("--learning_rate", type=float, required=True)
    parser.add_argument("--leaves", type=int, required=True, help="the most leaves of one tree")
    options = parser.parse_args()
    train(options.data, options.learning_rate, options.leaves)


def train(data: Path, learning_rate: float, leaves: int) -> None:
    measurements, malignant = read(data)
    is_test = choose_test_rows(measurements, os.environ["SPLIT_KEY"])
    model = HistGradientBoostingClassifier(
        learning_rate=learning_rate,
        max_leaf_nodes=leaves,
        early_stopping=False,
        warm_start=True,  # each fit() adds trees to those that are there
        random_state=0,
    )
    for epoch in range(1, EPOCHS + 1):
        model.set_params(max_iter=TREES * epoch)
        model.fit(measurements[~is_test], malignant[~is_test])
        predicted = model.predict_proba(measurements[is_test])[:, 1]
        loss = log_loss(malignant[is_test], predicted)
        auc = roc_auc_score(malignant[is_test], predicted)
        print(f"Epoch {epoch}: loss={loss:.5f}, auc={auc:.5f}", flush=True)


def read(directory: Path) -> tuple[np.ndarray, np.ndarray]:
    """The measurements, a row for each tumour, and for each one whether it is malignant (1) or not (0)."""
    table = np.loadtxt(directory / "tumours.csv", delimiter=",", skiprows=1)
    return table[:, :-1], table[:, -1].astype(int)


def choose_test_rows(measurements: np.ndarray, key: str) -> np.ndarray:
    """Whether each row is for the test. Nobody can tell without the key; new rows change no other one."""
    digests = (hmac.digest(key.encode(), row.tobytes(), hashlib.sha256) for row in measurements)
    return np.array([digest[0] < 256 * TEST_SHARE for digest in digests])


if __name__ == "__main__":
    main()
