"""From labelled snapshots to targets, splits, manifests and verified images."""
