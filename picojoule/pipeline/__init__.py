"""The main job: stages from trained network to compiled program, each cached in the run folder and resumable."""

from picojoule.pipeline.driver import run_pipeline as run_pipeline
