"""From the label database to labelled snapshots."""
