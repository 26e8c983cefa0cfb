"""From an answer to what the person sees: by the best way that is still open, growing or at once, here or elsewhere."""
