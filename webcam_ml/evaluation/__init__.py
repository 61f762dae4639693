"""From predictions to metrics with intervals, slices, baselines and plots.

Start at `build_eval_report`, which makes the artifact, and `docs/evaluation.md`, which says what its
numbers mean. The metrics themselves and their intervals are in `webcam_ml.metrics`. Nothing here
uses Dagster or torch: predictions come in as a frame.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
