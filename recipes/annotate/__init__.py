"""Recipes: small pretrained weights on real faces, speech and words."""
