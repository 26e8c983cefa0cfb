"""The models: how each provider is asked. `base` is the seam; what asks several, counts or masks stands behind it."""
