"""Energy of the GPU that serves, from the counter that NVIDIA's driver keeps."""

from melange.harness.measure.nvml import first_gpu

KNOWS_NO_CPU = "energy is read from NVML, which knows no CPU"


class EnergyMeter:
    """Joules of the first GPU since its driver was loaded, whatever ran on it.

    The driver renews the counter some ten times a second: what took less than that may not show.
    """

    def __init__(self, device: str) -> None:
        self.missing = KNOWS_NO_CPU if device == "cpu" else self._connect()
        """Why there is nothing to read; empty where there is."""

    def _connect(self) -> str:
        import pynvml

        try:
            self._handle = first_gpu()
            pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)
        except pynvml.NVMLError as error:
            return f"NVML has no energy counter for this GPU: {error}"
        return ""

    def joules(self) -> float | None:
        """The counter; None where it is missing."""
        if self.missing:
            return None
        import pynvml

        return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) / 1000


def spent(before: float | None, after: float | None) -> float | None:
    """Joules between two readings; None without readings, or where the counter stood still."""
    return (after - before) or None if before is not None and after is not None else None
