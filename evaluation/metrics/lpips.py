"""LPIPS: how different two pictures look."""
import functools

import jax
import jax.numpy as jnp
import numpy as np

from data import images
from diffusion import specs
from evaluation import gathering, prompts, scores

BATCH = 16  # pairs at a time
OF = {'prompts': 'lpips_diversity', 'true': 'lpips_true'}  # pairs -> score


def lpips(c, of: str = 'prompts') -> scores.Metric:
  """The mean LPIPS of pairs of pictures, arXiv:1801.03924, VGG16.

  prompts: 'lpips_diversity', of two pictures of each prompt of config.eval.prompts, as
    arXiv:1711.11586 sec. 4: more is better.
  true: 'lpips_true', of a picture drawn with a true one's caption, and that one.
  config.eval.num is the number of pictures that are drawn.
  """
  specs.require(lambda x: x in OF, f'it must be one of {sorted(OF)}', of=of)
  gathering.network('lpips')  # raises where its file is not there
  diverse, num = of == 'prompts', c.eval.num
  if diverse and num < 4:
    raise ValueError(f'config.eval.num is {num}; two pairs are 4 pictures.')
  def measure(run):
    generate = functools.partial(run.generate, run.model, seed=run.seed,
                                 progress=run.progress)
    if diverse:
      texts = prompts.of_pictures(c, run.model.tokenizer, run.seed)[:num // 2]
      both = generate(prompts=texts * 2)
      a, b = both[:len(texts)], both[len(texts):]
    else:
      true = prompts.true_pictures(c)
      pairs = [true[i] for i in range(min(num, len(true)))]
      a, b = np.stack([pair['image'] for pair in pairs]), generate(
          prompts=[pair['caption'] for pair in pairs])
    return {OF[of]: scores.mean(distances(a, b), f'{len(a)} pairs, VGG16')}
  return scores.Metric({OF[of]: ''}, measure, higher=diverse)


def distances(a, b) -> np.ndarray:
  """LPIPS of pairs uint8[n h w c], f64[n]."""
  network, found = gathering.network('lpips'), []
  apply = pair_distance(network.apply)
  for i in range(0, len(a), BATCH):
    some = np.minimum(np.arange(i, i + BATCH), len(a) - 1)  # the last is filled up
    found.append(np.asarray(apply(network.params, *(
        network.preprocess(images.as_colours(x[some])) for x in (a, b))))[:len(a) - i])
  return np.float64(np.concatenate(found))


@functools.cache
def pair_distance(apply):
  """(params, prepared a and b) -> f32[b], compiled."""
  def distance(params, a, b):
    first, second = (apply(params, x)['features'] for x in (a, b))
    return jnp.square(first - second).sum(-1)
  return jax.jit(distance)
