"""What a candidate costs while it serves: speed and memory."""
