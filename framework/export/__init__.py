"""Results for other tools: data frames, Parquet, TensorBoard, MLflow, Optuna, W&B."""
