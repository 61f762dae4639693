"""From verified images to a trained checkpoint: backbones, cached features, probe, calibration."""
