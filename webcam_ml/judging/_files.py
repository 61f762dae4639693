"""Names of files of a comparison, for whoever needs no more than the names."""

WHAT_CHANGED_FILE = "what_changed.html"
