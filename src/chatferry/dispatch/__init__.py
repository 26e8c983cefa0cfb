"""Who is told that a conversation has work: in this process, or in any. `base` is the seam."""
