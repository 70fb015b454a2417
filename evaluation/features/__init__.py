"""Networks whose features metrics compare: load('inception') and others by name.

Weights are files that a user fetches once (docs/features.md); a network is built from
them by `load` and is then two functions: `preprocess` on the host, exactly that of the
reference implementation named, and `apply` on the devices.
"""
from collections.abc import Callable
from typing import NamedTuple


class FeatureNetwork(NamedTuple):
  """A network with its weights.

  Attributes:
    name: of FEATURES.
    outputs: {output: its width}.
    preprocess: uint8[b h w 3], numpy, to what `apply` takes, float32 or uint8[b s s 3];
      s is the network's, whatever h and w.
    apply: (params, what preprocess gives) -> {output: f32[b width]}; pure, for jit, and
      each picture of a batch by itself.
    params: float32, a tree.
    weights_hash: SHA-256 of names, shapes and float32 values of `params`, in hex: the
      same whatever kind of file they were in.
    preprocessing: its name, as 'pytorch_fid'.
  """
  name: str
  outputs: dict
  preprocess: Callable
  apply: Callable
  params: dict
  weights_hash: str
  preprocessing: str


FEATURES = {}  # name: row


def load(name: str, path: str | None = None,
         preprocessing: str | None = None) -> FeatureNetwork:
  """Reads a network.

  Args:
    name: of FEATURES.
    path: a safetensors file or a folder with one; None for weights/public/NAME
      .safetensors or the folder weights/public/NAME.
    preprocessing: one of the row's; None for its first.

  Raises ValueError for a name, preprocessing or file that is none, FileNotFoundError
  where there is no file, with what to fetch and where to put it.
  """
  del path, preprocessing
  raise ValueError(f'{name!r} is not one of the feature networks {sorted(FEATURES)}.')
