"""Tables as declared columns, and what is made of them."""
