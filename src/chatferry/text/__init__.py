"""Texts as values: cut, made plain, compared, quoted. Pure, and open to everybody."""
