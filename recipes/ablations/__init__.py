"""Recipes: ablations."""
