"""The same training as train.py, with Hydra's command line: learning_rate=0.1 leaves=7."""

from pathlib import Path

import hydra
from omegaconf import DictConfig
from train import train


@hydra.main(version_base=None, config_path=".", config_name="config")
def main(config: DictConfig) -> None:
    train(Path(config.data), config.learning_rate, config.leaves)


if __name__ == "__main__":
    main()
