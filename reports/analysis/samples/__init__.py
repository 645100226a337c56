"""Every example of a task, with the responses of all candidates: read, packed, excerpted."""
