"""The maker of the puppet clips: emotion -> face, voice and words -> a film with its facts. Imports no torch."""

EMOTIONS = ("happy", "sad", "neutral", "angry", "surprise", "disgust", "fear")
