"""All samples of a task."""
