"""What the known metrics are called on a page. An unknown metric is shown under its own name."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    label: str
    meaning: str = ""


KNOWN = {
    "prefill_tokens_per_sec": Metric(label="Prefill", meaning="prompt tokens read per second"),
    "decode_tokens_per_sec": Metric(label="Decode", meaning="tokens generated per second"),
    "total_tokens_per_sec": Metric(label="Total", meaning="prompt and generated tokens per second"),
    "ttft_sec": Metric(label="TTFT", meaning="time to the first token, median"),
    "tpot_sec": Metric(label="TPOT", meaning="time per token after the first"),
    "latency_sec": Metric(label="Latency", meaning="a request from end to end, median"),
    "request_throughput": Metric(label="Requests", meaning="requests finished per second"),
    "relative_throughput": Metric(
        label="Relative throughput",
        meaning="ratio to the reference candidate, measured in the same rounds",
    ),
    "joules_per_token": Metric(
        label="Energy", meaning="of the device, for each token that was generated"
    ),
    "weights_bytes": Metric(label="Weights", meaning="parameters as loaded"),
    "kv_bytes_per_token": Metric(label="KV per token", meaning="key-value cache of one token"),
    "kv_pool_bytes": Metric(
        label="KV pool", meaning="what the engine set aside for keys and values"
    ),
    "activation_bytes": Metric(
        label="Activations", meaning="highest use beside weights and KV pool"
    ),
    "peak_memory_bytes": Metric(label="Peak memory", meaning="highest use while serving"),
    "device_memory_bytes": Metric(
        label="Device memory", meaning="what the device had in use, the engine's reserve included"
    ),
    "total_params": Metric(label="Total params", meaning="all parameters that are held"),
    "active_params": Metric(label="Active params", meaning="parameters that one token passes"),
    "build_sec": Metric(label="Build", meaning="making the candidate from its inputs"),
    "yardstick_sec": Metric(
        label="Yardstick", meaning="fixed work outside the engine: the machine's own speed"
    ),
    "throughput": Metric(label="Throughput", meaning="speed as a whole"),
    "memory": Metric(label="Memory", meaning="memory as a whole"),
}

PERCENTILES = ("p50", "p90", "p99")


def describe(metric: str) -> Metric:
    """A known metric, a percentile of one, or the name itself with its underscores opened."""
    if metric in KNOWN:
        return KNOWN[metric]
    stem, _, last = metric.rpartition("_")
    if last in PERCENTILES and stem in KNOWN:
        of = KNOWN[stem]
        return Metric(label=f"{of.label} {last}", meaning=of.meaning.replace("median", last))
    return Metric(label=metric.replace("_", " "))
