"""Networks whose features metrics compare: load('inception') and others by name.

Weights are files that a user fetches once (docs/features.md); a network is built from
them by `load` and is then two functions: `preprocess` on the host, exactly that of the
reference implementation named, and `apply` on the devices.
"""
from evaluation.features.loading import (
    FeatureNetwork, TextNetwork, clip_text, load)
from evaluation.features.networks import FEATURES

__all__ = ['FEATURES', 'FeatureNetwork', 'TextNetwork', 'clip_text', 'load']
