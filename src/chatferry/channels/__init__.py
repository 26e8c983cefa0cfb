"""The platforms: how each is heard and answered. `base` is the seam; a family of files for each behind it."""
