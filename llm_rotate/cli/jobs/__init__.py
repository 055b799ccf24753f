"""The commands that work through many rows, and what they share."""
