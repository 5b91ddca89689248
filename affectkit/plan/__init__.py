"""A recipe against the pieces: every problem, the graph, the stages, without torch."""
