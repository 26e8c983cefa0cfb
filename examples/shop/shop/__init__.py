"""The shop's own programs, as far as its customer service may use them."""
