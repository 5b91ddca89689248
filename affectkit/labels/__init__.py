"""Emotion words from elsewhere: free text, wheels, published files."""
