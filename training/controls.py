"""What of a picture a ControlNet is led by, config.diffusion.control: arXiv:2302.05543.

Training takes it of each picture of a batch, drawing of the one that is given.
"""
import jax
import jax.numpy as jnp
import numpy as np

from diffusion import specs

SOBEL = np.float32([[1, 2, 1], [0, 0, 0], [-1, -2, -1]]) / 4  # of rows; 1 over an edge


def grey():
  """Brightness alone, in all channels."""
  return lambda x: jnp.broadcast_to(x.mean(-1, keepdims=True), x.shape)


def edges():
  """White where brightness changes: the length of Sobel's gradient."""
  def of(x):
    brightness = (x.mean(-1, keepdims=True) + 1) / 2
    padded = jnp.pad(brightness, ((0, 0), (1, 1), (1, 1), (0, 0)), 'edge')
    kernel = jnp.stack([SOBEL, SOBEL.T], -1)[:, :, None]  # [3 3 1 2]
    both = jax.lax.conv_general_dilated(padded, kernel, (1, 1), 'VALID',
                                        dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
    length = jnp.sqrt(jnp.square(both).sum(-1, keepdims=True) + 1e-12)
    return jnp.broadcast_to(2 * jnp.clip(length, 0, 1) - 1, x.shape)
  return of


def coarse(factor: int = 8):
  """The means of blocks of factor x factor pixels."""
  specs.above_zero(factor=factor)
  def of(x):
    b, h, w, c = x.shape
    if h % factor or w % factor:
      raise ValueError(f"config.diffusion.control is 'coarse' with factor={factor}, "
                       f'which does not divide pictures of {h} x {w}.')
    means = x.reshape(b, h // factor, factor, w // factor, factor, c).mean((2, 4))
    return means.repeat(factor, 1).repeat(factor, 2)
  return of


# options -> (f32[b h w c] in [-1, 1] -> the same)
CONTROLS = {'none': lambda: lambda x: x, 'edges': edges, 'grey': grey, 'coarse': coarse}


def build(c, module):
  """The row of a config.diffusion, for a module; None for one that nothing leads.

  Raises ValueError for another row then, by key.
  """
  control = specs.build(CONTROLS, c.control, 'diffusion.control')
  led, named = 'control' in module.backbone.needs, c.control != 'none'
  if named and not led:
    raise ValueError(f'config.diffusion.control is {c.control!r}; this config.model is '
                     "led by no picture: it takes name='controlled_unet'.")
  return control if led else None


def check_training(c, module):
  """Raises ValueError for a network that is shown what no batch has, by key."""
  if 'control' in module.backbone.needs and c.diffusion.control == 'none':
    raise ValueError(f"config.diffusion.control is 'none'; config.model.name "
                     f'{c.model.name!r} is led by a picture: one of '
                     f'{sorted(CONTROLS)[:-1]}.')
  if module.backbone.beside:
    raise ValueError(f'config.model.shown is {c.model.shown!r}; such networks are '
                     "drawn with, not trained: 'nothing'.")
  if 'score' in module.backbone.needs:
    raise ValueError('config.model.scored is True; batches have no scores: False.')
  for key in ('sample_every', 'eval_every'):
    if 'control' in module.backbone.needs and c.train[key]:
      raise ValueError(f'config.train.{key} is {c.train[key]}; a ControlNet draws '
                       'where it is given a picture: 0, and sample.py --control.')
