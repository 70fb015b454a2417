"""What pictures are asked for: prompts and their weights, as arrays."""
import math
from typing import Any

from flax import struct
import numpy as np

from console.errors import tell
from data import tokenizers

MOST_TOLD = 5  # prompts that are told of by themselves

@struct.dataclass
class Request:
  """m pictures; None stands for what is not asked for.

  Attributes:
    tokens: int32[m 1+k l], the negative prompt and the k parts of the prompt.
    prompt_weights: f32[m k], of the parts.
    sizes: f32[m 6], what the network is told of size and crop: models.Context.
    weak_tokens: like tokens, for the network to move away from.
    image: f32[m h w c] in [-1, 1], a picture to start from.
    mask: f32[m h w 1], 1 where that is painted anew.
    noise: f32[m *latent_shape], in place of the seed's.
    control: f32[m h w c] in [-1, 1], for a ControlNet: models.Context.
  """
  tokens: Any
  prompt_weights: Any
  sizes: Any
  weak_tokens: Any = None
  image: Any = None
  mask: Any = None
  noise: Any = None
  control: Any = None


def build_request(tokenizer, prompts, length: int, size, *, num: int = 1,
                  negative: str | None = None) -> Request:
  """A request of num pictures of each prompt, prompt by prompt.

  A prompt with fewer parts than another gets empty ones of weight 0.

  Args:
    length: tokens of a prompt.
    size: (height, width) of the pictures: they are said to be whole and of this size.
    negative: what guidance moves away from; None is no prompt at all, which where it
      is known from the empty one is another.

  Raises:
    ValueError: a prompt that is no UTF-8 text, or none of a model's classes.
  """
  split = [prompt_parts(prompt) for prompt in prompts]
  k = max(map(len, split))
  split = [parts + [('', 0.0)] * (k - len(parts)) for parts in split]
  texts = [text for parts in split for text in (negative, *(text for text, _ in parts))]
  tokens = encode_prompts(tokenizer, texts, length).reshape(len(prompts), 1 + k, length)
  weights = np.array([[weight for _, weight in parts] for parts in split], np.float32)
  sizes = np.float32([*size, 0, 0, *size])[None].repeat(len(prompts) * num, 0)
  return Request(tokens.repeat(num, 0), weights.repeat(num, 0), sizes)


def prompt_parts(prompt: str) -> list[tuple[str, float]]:
  """'one:1.5 AND another' -> [('one', 1.5), ('another', 1.0)]; else [(prompt, 1.0)].

  Raises ValueError for a weight that is not finite.
  """
  parts, found = prompt.split(' AND '), []
  for part in parts if len(parts) > 1 else ():
    text, _, weight = part.strip().rpartition(':')
    try:
      found.append((text, float(weight)) if text else (part.strip(), 1.0))
    except ValueError:  # a colon of the text's own
      found.append((part.strip(), 1.0))
    if not math.isfinite(found[-1][1]):
      raise ValueError(f'the prompt {prompt!r} has the weight {weight}; weights are '
                       'finite.')
  return found or [(prompt, 1.0)]


def encode_prompts(tokenizer, prompts, length: int) -> np.ndarray:
  """int32[p l]; tells of prompts that are too long how much of them is cut.

  Of the first MOST_TOLD one by one, and then of how many there are. None is no prompt.
  """
  rows, long = [], 0
  for prompt in prompts:
    try:
      (prompt or '').encode()
    except UnicodeEncodeError as e:
      raise ValueError(f'the prompt {prompt!r} is not UTF-8 text.') from e
    row, cut = tokenizers.encode(tokenizer, prompt, length)
    long += cut > 0
    if cut and long <= MOST_TOLD:
      tell(f'the prompt "{prompt[:40]}..." is too long: its last {cut} tokens are cut '
           f'(config.tokenizer.length is {length}).')
    rows.append(row)
  if long > MOST_TOLD:
    tell(f'{long:,} prompts in all are too long and are cut.')
  return np.stack(rows)
