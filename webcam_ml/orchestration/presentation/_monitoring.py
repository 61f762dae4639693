"""What is found in what the application serves, as the page shows it."""

from typing import TYPE_CHECKING

from webcam_ml.orchestration.markdown import counts_table, preview, table
from webcam_ml.orchestration.presentation._cells import Metadata
from webcam_ml.orchestration.presentation._models import LONGEST_SENTENCE

if TYPE_CHECKING:
    from webcam_ml.monitoring import ServedAudit


def of_served_audit(audit: "ServedAudit") -> Metadata:
    """What was found, whose scores are stored, and the rows that differ."""
    import polars as pl

    found = [{"finding": one.name, "what": one.sentence} for one in audit.findings]
    return {
        "findings": len(audit.findings),
        "found": table(found, longest_cell=LONGEST_SENTENCE),
        "scored by": counts_table(audit.stored, "model version"),
        "snapshots": audit.snapshots,
        "without a score": audit.unscored,
        "compared": audit.rows.height,
        "pictures that cannot be read": audit.unreadable,
        **_drift(audit),
        "rows that differ": preview(
            audit.rows.filter(pl.col("verdict") != "same"),
            ("snapshot_id", "webcam_id", "model_version", "raw_score", "own_score", "verdict"),
        ),
    }


def _drift(audit: "ServedAudit") -> Metadata:
    """A table for each live model, what moved furthest first."""
    return {
        f"beside the test split of {version}": table(
            [
                {
                    "what": f"{one.statistic}, {one.group}",
                    "then": round(one.then, 3),
                    "now": round(one.now, 3),
                    "difference, 95 %": f"{one.low:+.3f} to {one.high:+.3f}",
                    "webcams": one.webcams,
                    "alarm": "yes" if one.alarms else "",
                }
                for one in sorted(moved, key=lambda one: one.p_value)
            ]
        )
        for version, moved in audit.drift.items()
    }
