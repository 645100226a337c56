"""PEFT adapters, merged into the model that they were trained over."""
