"""Candidates, trained once, and a store in which the first of them is live."""

from webcam_ml_tests.live.fixtures import live, made, prepared

__all__ = ["live", "made", "prepared"]
