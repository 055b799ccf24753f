"""The HTTP seam and what stands behind it."""
