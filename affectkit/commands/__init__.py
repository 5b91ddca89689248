"""One verb per file; each has a click command called `command` and imports what is heavy inside it."""
