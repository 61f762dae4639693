"""Where people and model differ: labels worth a second look."""
