"""What an assistant's answers rest on: files of the operator, cut into passages and found by their words."""
