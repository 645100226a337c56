"""Plans a suite, runs its cells through vLLM and lm-eval, and stores the records."""
