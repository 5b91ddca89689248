"""The maker of the puppet clips: emotion -> face, voice and words -> a film with its facts. Imports no torch."""

EMOTIONS = ("happy", "sad", "neutral", "angry", "surprise", "disgust", "fear")
SCALES = {"valence": (-1.0, 1.0), "arousal": (-1.0, 1.0), "intensity": (0.0, 1.0)}
"""The ratings of a puppet, each with the ends of its scale."""
