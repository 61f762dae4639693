"""What Dagster loads: `dagster … -m webcam_ml.definitions`. The wiring is in orchestration.build."""

from webcam_ml.orchestration.build import build_definitions

defs = build_definitions()
