"""A run folder to pages and tables, from its JSON alone."""
