"""From predictions to metrics with intervals, slices, baselines and plots."""
