"""Trains the small feature network of the shapes world: a minute on two cores.

python examples/shapes_features.py --out=shapes.safetensors

Pictures are drawn with the labels that they were drawn from: which colours, shapes and
objects are there, and how one of two stands to the other. The features before the heads
that name them are what distances of evaluation/ compare, as `fd(features='shapes')`;
weights/features/shapes.safetensors are those of this script. Prints how often it is
right on pictures of scenes that it never saw.
"""
import argparse
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import jax
import numpy as np
import optax

from data.sources import shapes
from evaluation.features.shapes import FILE, NORMAL, SIZE, ShapesNet
from training import param_files

PICTURES, BATCH, STEPS, RATE = 16_000, 64, 1_200, 2e-3
RELATIONS = (None, *shapes.OPPOSITE)


def labels(scene) -> dict:
  """{head: bool[width], or the index of a relation}."""
  places = [shapes.OBJECTS.index(pair) for pair in scene.objects]
  told = scene if places == sorted(places) else scene.mirrored()
  objects = np.isin(np.arange(len(shapes.OBJECTS)), places)
  both = objects.reshape(len(shapes.COLOURS), len(shapes.SHAPES))
  return {'colours': both.any(1), 'shapes': both.any(0), 'objects': objects,
          'relation': RELATIONS.index(told.relation)}


def drawn(scenes, num: int, seed: int):
  """(pictures f32[num 32 32 3], {head: labels [num ...]}) of random scenes."""
  rng = np.random.default_rng(seed)
  some = [scenes[i] for i in rng.integers(len(scenes), size=num)]
  found = [labels(scene) for scene in some]
  pictures = np.stack([shapes.draw(scene, rng, (SIZE, SIZE)) for scene in some])
  return ((np.float32(pictures) / 255 - NORMAL[0]) / NORMAL[1],
          {head: np.stack([row[head] for row in found]) for head in found[0]})


def loss_of(params, pictures, wanted):
  """Cross entropies, the sum over all labels."""
  out = ShapesNet().apply({'params': params}, pictures)
  loss = optax.softmax_cross_entropy_with_integer_labels(
      out['relation'], wanted['relation'])
  for head in ('colours', 'shapes', 'objects'):
    loss += optax.sigmoid_binary_cross_entropy(out[head], wanted[head]).sum(-1)
  return loss.mean()


def train(pictures, wanted, steps: int):
  """Parameters after so many steps of Adam."""
  tx = optax.adam(optax.warmup_cosine_decay_schedule(0, RATE, 50, steps))
  params = ShapesNet().init(jax.random.key(0), pictures[:1])['params']

  @jax.jit
  def step(params, state, pictures, wanted):
    loss, grads = jax.value_and_grad(loss_of)(params, pictures, wanted)
    updates, state = tx.update(grads, state)
    return optax.apply_updates(params, updates), state, loss

  state, rng = tx.init(params), np.random.default_rng(1)
  for i in range(1, steps + 1):
    some = rng.integers(len(pictures), size=BATCH)
    params, state, loss = step(params, state, pictures[some], jax.tree.map(
        lambda x: x[some], wanted))
    if i % 200 == 0:
      print(f'step {i}/{steps}  loss {loss:.3f}', flush=True)
  return params


def normalized(params, pictures):
  """The same network with features whose mean square is 1: a ReLU leaves factors be."""
  pool = jax.jit(ShapesNet().apply)({'params': params}, pictures)['pool']
  scale = float(np.sqrt(np.mean(np.square(pool))))
  return {name: jax.tree.map(lambda x: x / scale, part) if name == 'features' else
          part | {'kernel': part['kernel'] * scale} if name in ShapesNet.HEADS else part
          for name, part in params.items()}


def accuracy(params, pictures, wanted) -> dict:
  """{head: share of pictures of which all its labels are right}."""
  out = jax.jit(ShapesNet().apply)({'params': params}, pictures)
  right = {'relation': np.argmax(out['relation'], 1) == wanted['relation']} | {
      head: np.all((out[head] > 0) == wanted[head], 1)
      for head in ('colours', 'shapes', 'objects')}
  return {head: float(share.mean()) for head, share in right.items()}


def main(argv=None):
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--out', default=FILE, help='NAME.safetensors')
  out = parser.parse_args(argv).out
  start, used = time.monotonic(), time.process_time()
  scenes = shapes.SPLITS['train'] + shapes.ONE_OBJECT * 20
  pictures, wanted = drawn(scenes, PICTURES, 0)
  params = normalized(train(pictures, wanted, STEPS), pictures[:2_000])
  print(f'{time.monotonic() - start:.0f} seconds, {time.process_time() - used:.0f} of '
        'processor time')
  right = accuracy(params, *drawn(shapes.SPLITS['test'], 2_000, 1))
  print('right in pictures of unseen scenes: ' + ', '.join(
      f'{head} {share:.1%}' for head, share in right.items()))
  param_files.save(out, params, 'float16', {'source': 'examples/shapes_features.py'})
  print(f'{out}, {os.path.getsize(out):,} bytes')


if __name__ == '__main__':
  main()
