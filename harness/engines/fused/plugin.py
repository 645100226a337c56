"""Makes the fused model known to vLLM: entry point of the group `vllm.general_plugins`."""

from melange.harness.engines.fused.folder import ARCHITECTURE


def register() -> None:
    """Every process of vLLM calls this once or more; neither torch nor the model is imported."""
    from transformers import AutoConfig
    from vllm import ModelRegistry

    from melange.harness.engines.fused.config import LogitArithmeticConfig

    AutoConfig.register(LogitArithmeticConfig.model_type, LogitArithmeticConfig, exist_ok=True)
    if ARCHITECTURE not in ModelRegistry.get_supported_archs():
        ModelRegistry.register_model(
            ARCHITECTURE, f"melange.harness.engines.fused.model:{ARCHITECTURE}"
        )
