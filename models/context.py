"""What a backbone is told beside the noised picture."""
from typing import Any, NamedTuple

from flax import struct

GIVEN = frozenset(  # whatever the condition is
    {'sizes', 'augment', 'beside', 'control', 'score'})


@struct.dataclass
class Context:
  """What a picture is to show. A field is None where nothing gives it.

  Attributes:
    text: [b l e], tokens of the condition.
    mask: bool[b l], True where `text` is to be seen; None sees all.
    pooled: [b e], a summary of the condition.
    sizes: f32[b 6], in pixels: height and width before resizing, top and left of the
      crop, target height and width (SDXL's micro-conditioning, arXiv:2307.01952).
    augment: f32[b 9], how the picture was changed (arXiv:2206.00364 appendix F.2);
      zeros for not at all, which None stands for.
    beside: [b h w m], what is concatenated to the noised picture, such as a mask.
    score: f32[b], how much the picture is to please, from 1 to 10 (LAION's aesthetic
      score, of SDXL's refiner).
    control: f32[b H W c] in [-1, 1], a picture of edges, depth, a pose, of the size of
      pictures (ControlNet, arXiv:2302.05543).
  """
  text: Any = None
  mask: Any = None
  pooled: Any = None
  sizes: Any = None
  augment: Any = None
  beside: Any = None
  control: Any = None
  score: Any = None


class Scalars(NamedTuple):
  """Numbers that a network is told of each picture: f32[b], None where there is none.

  Attributes:
    t: time in [0, 1], 0 is data.
    s: a second time, as of maps from one time to another.
    guidance: the scale of guidance that a distilled network imitates.
  """
  t: Any
  s: Any = None
  guidance: Any = None
