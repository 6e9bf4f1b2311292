"""What all unit tests share."""

from hypothesis import settings

# How long an example takes says more about the machine than about the code.
settings.register_profile("shared machine", deadline=None, max_examples=20)
settings.register_profile("thorough", deadline=None, max_examples=1000)  # --hypothesis-profile=thorough
settings.load_profile("shared machine")


pytest_plugins = ["attempt_bench", "export_bench", "master_bench", "project_directory", "webhook"]
