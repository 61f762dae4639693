"""The versioned store: immutable artifacts, named by content and ancestry."""
