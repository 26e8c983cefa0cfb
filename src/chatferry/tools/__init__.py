"""What models may call: see `base`."""
