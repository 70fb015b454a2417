"""Our side: a backbone with the weights that torch_side.py wrote.

python benchmarks/peers/our_side.py FOLDER
"""
import json
import os
import pathlib
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__)))))

import jax
import jax.numpy as jnp
import optax
import safetensors.numpy

from benchmarks.peers import measure
from diffusion import Process, guidance, process, sampling, schedules, solvers
from interop import weights
from models import Scalars
from models.backbones import BACKBONES
from models.context import Context

FOLDER = pathlib.Path(sys.argv[1])
SPEC = json.loads((FOLDER / 'spec.json').read_text())
AVERAGE = 1e-3
SHAPES = ((SPEC['side'], SPEC['side'], SPEC['channels']), tuple(SPEC['text']),
          tuple(SPEC['text'][1:]))  # of latents, a text and its summary


def build():
  """(the backbone, its parameters)."""
  fields = {key: tuple(value) if isinstance(value, list) else value
            for key, value in SPEC['fields'].items()}
  dtype = jnp.float32 if SPEC['device'] == 'cpu' else jnp.bfloat16
  net = BACKBONES[SPEC['name']](channels=SPEC['channels'], dtype=dtype, **fields)
  x, text, pooled = (jnp.zeros((1, *shape)) for shape in SHAPES)
  shapes = jax.eval_shape(
      lambda key: net.init(key, *described(x, jnp.zeros(1), text, pooled)),
      jax.random.key(0))['params']
  params = jax.device_put(weights.load(FOLDER / 'weights', shapes))
  return net, params


def described(x, told, text, pooled):
  """What the backbone takes of NHWC latents, the number that the peer is told for t, a
  text and its summary."""
  unit = 1 if SPEC['fields'].get('time_unit') == 'index' else 0  # layers.TIMES
  return x, Scalars((told + unit) / 1000), Context(
      text=text, pooled=pooled if SPEC['pooled'] else None)


def main():
  net, params = build()
  case = {name: jnp.asarray(y) for name, y in
          safetensors.numpy.load_file(FOLDER / 'case.safetensors').items()}
  apply = jax.jit(lambda params, *given: net.apply({'params': params},
                                                   *described(*given)))
  nhwc = lambda y: y.transpose(0, 2, 3, 1)
  out = apply(params, nhwc(case['x']), *(case[key] for key in ('t', 'text', 'pooled')))
  expected = nhwc(case['out'])
  measure.say(float(abs(out - expected).max() / abs(expected).max()))

  b, count = SPEC['batch'], sum(p.size for p in jax.tree.leaves(params))
  measure.say(count)
  x, text, pooled = (jax.random.normal(jax.random.key(i), (b, *shape))
                     for i, shape in enumerate(SHAPES))
  told = jnp.full(b, 500.0)

  optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-5))
  def train(state, x, *told):
    params, average, opt_state = state
    def loss(params):
      out = net.apply({'params': params}, *described(x, *told))
      return jnp.square(out[..., :SPEC['channels']].astype(jnp.float32) - x).mean()
    value, grads = jax.value_and_grad(loss)(params)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    params = optax.apply_updates(params, updates)
    average = optax.incremental_update(params, average, AVERAGE)
    return (params, average, opt_state), value
  train = jax.jit(train, donate_argnums=0)
  state = [(jax.tree.map(jnp.copy, params), jax.tree.map(jnp.copy, params),
            optimizer.init(params))]
  def step():
    state[0], value = train(state[0], x, told, text, pooled)
    return value

  steps = Process(schedules.SCHEDULES['linear'](steps=1000), process.eps)
  def draw(params, x, text, pooled):
    def predict(x, t, context):
      out = net.apply({'params': params}, x, Scalars(t), context)
      return out[..., :SPEC['channels']]
    full = described(x, told, text, pooled)[2]
    pair = guidance.prompts(sampling.denoiser(predict, steps), [full], jnp.ones((b, 1)),
                            full.replace(text=jnp.zeros_like(text)))
    return sampling.sample(
        guidance.guided(*pair, guidance.cfg(), 4.0), solvers.SOLVERS['ddim'](
            steps.schedule), x, jnp.linspace(1, 0, SPEC['steps'] + 1),
        jax.random.split(jax.random.key(0), b))
  draw = jax.jit(draw)

  measure.serve(dict(forward=lambda: apply(params, x, told, text, pooled), step=step,
                     sampling=lambda: draw(params, x, text, pooled)),
                jax.block_until_ready)


main()
