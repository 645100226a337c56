"""How fast candidates answer."""
