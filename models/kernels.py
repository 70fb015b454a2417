"""Kernels as matrices of inputs and outputs."""
import re


def axes_of(name: str, p):
  """(first, split, end): a kernel's axes first to split are inputs, the rest outputs.

  name: 'a/b/kernel'. None for what is no kernel. Of stacked blocks, whose axis comes
  first, each is a matrix of its own.
  """
  first = int('blocks/' in name)
  if p.ndim < 2 + first or not name.endswith('kernel'):
    return None
  heads_out = re.fullmatch('.*/(text_)?(q|k|v)/kernel', name)  # [inputs, heads, ...]
  return first, (first + 1 if heads_out else p.ndim - 1), p.ndim
