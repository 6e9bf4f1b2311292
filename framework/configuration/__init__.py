"""The user's files, read and checked: project.yml, parameters.yml, W&B sweep files."""
