"""Keys, signatures and what is said under them."""
