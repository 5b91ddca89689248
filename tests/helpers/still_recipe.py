"""A recipe on first frames for tests of evaluations: one encoder of patches, one projector, a language model of one layer."""

from pathlib import Path

LOOKS = """
name: trial
data: {use: puppets, count: 42}
views: {look: {use: frames, pick: first}}
streams:
  scene:
    steps:
      encoder: {use: image_patches, pixels: look, size: 16, patch: 8, width: 16, layers: 1, heads: 2}
      projector: {use: linear}
backbone: {use: causal_lm, width: 32, heads: 2, layers: 1}
run: {accelerator: cpu}
"""
"""All but the prompt, the stages and the scores."""
ASKS = """
prompt:
  use: template
  parts:
    scene: {use: slot, stream: scene}
    says: {use: subtitle}
    ask: {use: label_question}
    why: {use: reason_question, wordings: ["Why?"]}
"""
"""A prompt that asks for a label, and for the reason."""
STATES = """
prompt:
  use: template
  parts:
    scene: {use: slot, stream: scene}
    who: {use: age_gender_race, fields: [age, gender]}
    ask: {use: label_question}
"""
"""A prompt that states age and gender and asks for a label."""


def write(folder: Path, recipe: str) -> Path:
    """The recipe as a file; its runs go beside it."""
    path = folder / "trial.yaml"
    path.write_text(recipe.replace("{accelerator: cpu}", f"{{accelerator: cpu, folder: {folder}/runs}}"))
    return path
