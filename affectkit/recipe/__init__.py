"""A YAML file to values, each with its place."""
