"""Metrics by name: config.eval.metrics. A new one is a file here and a row.

A row is a function of the config, whose other parameters are its options, to a Metric.
"""
from evaluation.metrics.clip import aesthetic_score, clip_score
from evaluation.metrics.frechet import fd, fid, fid_infinity, sfid
from evaluation.metrics.inception_score import inception_score
from evaluation.metrics.kernels import cmmd, kid
from evaluation.metrics.likelihood import bits_per_dim, vlb
from evaluation.metrics.lpips import lpips
from evaluation.metrics.manifolds import density_coverage, precision_recall
from evaluation.metrics.prompt_accuracy import prompt_accuracy

METRICS = {
    'aesthetic_score': aesthetic_score, 'bits_per_dim': bits_per_dim,
    'clip_score': clip_score, 'cmmd': cmmd, 'density_coverage': density_coverage,
    'fd': fd, 'fid': fid, 'fid_infinity': fid_infinity,
    'inception_score': inception_score, 'kid': kid, 'lpips': lpips,
    'precision_recall': precision_recall, 'prompt_accuracy': prompt_accuracy,
    'sfid': sfid, 'vlb': vlb}
