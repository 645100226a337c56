"""What candidates cost."""
