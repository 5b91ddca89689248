"""Recipes that ship with affectkit."""
