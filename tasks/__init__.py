"""What is asked of a model: the task registry, suites, and the pocket world."""
