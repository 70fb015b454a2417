"""Cases of fixtures/backbones.npz and encoders.npz: our modules, and their inputs.

Both sides draw their weights from the names of parameters: seeded.py.
"""
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from helpers import seeded
import models
from models import backbones
from models.autoencoders import kl
from models.backbones import dit
from models.build import build_module
from models.conditions import clip, t5

FIXTURES = pathlib.Path(__file__).parent.parent / 'fixtures'
BACKBONES = FIXTURES / 'backbones.npz'
ENCODERS = FIXTURES / 'encoders.npz'
SMALL = dict(name='unet', width=16, num_res_blocks=1, attention=(0, 1),
             attention_type='self', groups=4)
SONG = SMALL | dict(
    channel_mult=(2, 2), attention=(1, 0), heads=1, time_embedding='ddpm',
    time_unit='edm', pooled_into='before', scale_shift=False, resblock_updown=True,
    skip_rescale=True)
SD = SMALL | dict(
    channels=4, attention=(1, 0), attention_type='spatial', heads=2, eps=1e-5,
    time_unit='index', pad=(1, 1), pooled_into='mlp', scale_shift=False)
MMDIT = dict(name='mmdit', channels=4, width=24, depth=3, heads=2,
             pos_embed_max_size=12, pos_scale=1 / 3)
CASES = {
    'ddpm': SMALL | dict(heads=1, time_embedding='ddpm', time_unit='index',
                         scale_shift=False),
    'adm': SMALL | dict(head_width=8, eps=1e-5, time_unit='index', resblock_updown=True,
                        out_channels=6),
    'ddpmpp': SONG,
    'ncsnpp': SONG | dict(time_embedding='fourier', time_channels=32,
                          resample_filter=(1, 3, 3, 1), input_skips=True),
    'sd': SD,
    'sdxl': SD | dict(attention=(0, 2), mid_attention=2, heads=0, head_width=8),
    'edm2': dict(name='edm2', channels=3, width=16, channel_mult=(1, 2),
                 num_res_blocks=1, attention=(0, 1), head_width=8),
    'dit': dict(name='dit', out_channels=8, width=24, depth=2, heads=2,
                time_unit='index'),
    'uvit': dict(name='uvit', width=16, depth=4, heads=2),
    'pixart': dict(name='pixart', out_channels=8, width=24, depth=2, heads=2,
                   time_unit='index', adaln_single=True, cross_attention=True,
                   size_embedding=True, pos_scale=0.5),
    'microdit': dict(name='microdit', width=32, depth=2, heads=4, pos_scale=0.5,
                     multiple=8, experts=4, capacity=1.0, mixer_width=16,
                     mixer_depth=2),
    'sd3': MMDIT,
    'sd3.5': MMDIT | dict(qk_norm=True, dual=1),
}


class PixArt(dit.DiT):
  """Told height, width and any ratio, as the reference's three numbers are."""

  def size_numbers(self, sizes):
    return sizes


TABLE = backbones.BACKBONES | {'pixart': PixArt}


def case(name, file=BACKBONES):
  with np.load(file) as file:
    return {key.partition('/')[2]: file[key] for key in file
            if key.startswith(name + '/')}


def module(name):
  """The backbone of a case."""
  return build_module(TABLE, CASES[name], 'config.model')


def inputs(name, want):
  """(x, Scalars, Context) of a case: what it lacks is empty in the file."""
  context = {k: want[k] for k in ('text', 'mask') if want['text'].size}
  if want['pooled'].size:
    context['sizes' if name == 'pixart' else 'pooled'] = want['pooled']
  return want['x'], models.Scalars(want['t']), models.Context(**context)


def weights(shapes):
  """Parameters of the numbers of their names."""
  def one(path, leaf):
    name = '/'.join(k.key for k in path)
    return jnp.asarray(seeded.numbers(name, leaf.size).reshape(leaf.shape))
  return jax.tree.map_with_path(one, shapes)


def backbone_shapes(name):
  """The parameters of a backbone, as shapes."""
  return jax.eval_shape(module(name).init, jax.random.key(0),
                        *inputs(name, case(name)))['params']


CLIP = clip.CLIP(vocab=40, length=8, width=16, depth=3, heads=2)
TEXTS = {
    'clip_l': CLIP.clone(pad=39, pooled='end'),
    'clip_g': CLIP.clone(act='gelu', pad=0, skip=1, pooled='projection'),
    't5': t5.T5(vocab=40, width=12, depth=2, heads=2, head_width=8, hidden=24),
}
KL = kl.KL(width=8, channel_mult=(1, 2), num_res_blocks=1, groups=4, scale=1.5305,
           shift=0.0609)
INPUTS = dict.fromkeys(TEXTS, ('tokens',)) | {'kl': ('x', 'eps')}


def encoder_shapes(name):
  """The parameters of a text encoder or of the autoencoder, as shapes."""
  want = case(name, ENCODERS)
  return jax.eval_shape(TEXTS.get(name, KL).init, jax.random.key(0), *(
      want[key] for key in INPUTS[name]))['params']
