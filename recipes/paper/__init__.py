"""Recipes: paper."""
