"""Metrics by name: config.eval.metrics. A new one is a file here and a row."""
from evaluation.metrics.likelihood import bits_per_dim, vlb
from evaluation.metrics.prompt_accuracy import prompt_accuracy

METRICS = {  # (config, generate) -> Metric; see evaluation.build
    'bits_per_dim': bits_per_dim, 'prompt_accuracy': prompt_accuracy, 'vlb': vlb}
