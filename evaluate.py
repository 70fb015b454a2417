r"""Scores a trained model.

python evaluate.py --workdir=runs/shapes --metrics=prompt_accuracy --num=512

Prompt accuracy: of the pictures drawn for prompts of each kind, the share that shows
exactly what was asked, with a 95% interval, and the scorer's share on true pictures.
Bits a dimension (--metrics=bits_per_dim): of pictures of --split, with --steps steps;
--metrics=vlb gives their variational bound by the discrete steps of training.
"""
import json
import os

from absl import flags
import jax
import numpy as np

import cli
from data import sources
from data.sources import shapes
from diffusion import bound, editing, likelihood, process
import drawing
from evaluation import prompt_accuracy
from training import loss as losses, mesh as meshes, specs

WORLD = prompt_accuracy.World(
    shapes.CANVAS, shapes.COLOURS, shapes.SHAPES, shapes.opacity)
KINDS = {  # of prompts, and the scenes that they are drawn from
    'one object': shapes.ONE_OBJECT,
    'two objects': shapes.SPLITS['test'],
    'unseen pairs': shapes.SPLITS['test_pairs'],
}


def define_flags():
  flags.DEFINE_string('workdir', None, 'Folder of the run.')
  flags.DEFINE_list('metrics', ['prompt_accuracy'], f'Of {sorted(METRICS)}.')
  flags.DEFINE_integer('num', 512, 'Pictures of each kind.', lower_bound=1)
  flags.DEFINE_string('split', 'test', 'Of pictures, for bits_per_dim and vlb, where a '
                      'source has splits.')
  flags.DEFINE_integer('seed', 0, 'Of the noise and the choice.', 0, 2**32 - 1)
  cli.define_sample_flags()


def scenes_of(kind: str, num: int, seed: int):
  """`num` scenes of a kind, in a random order, none twice before all came once."""
  pool = KINDS[kind]
  rng = np.random.default_rng(seed)
  rounds = -(-num // len(pool))
  order = np.concatenate([rng.permutation(len(pool)) for _ in range(rounds)])
  return [pool[i] for i in order[:num]]


def measure(draw, kinds, *, num: int, seed: int, size: int) -> dict:
  """Prompt accuracy by kind.

  Args:
    draw: prompts -> pictures uint8 [m size size 3].
    kinds: of KINDS.

  Returns:
    {kind: {'accuracy', 'low', 'high', 'n', 'scorer': accuracy on true pictures}}.
  """
  chosen = {kind: scenes_of(kind, num, seed) for kind in kinds}
  everything = [scene for scenes in chosen.values() for scene in scenes]
  pictures = draw([shapes.caption(scene) for scene in everything])
  report, rng = {}, np.random.default_rng(seed)
  for i, (kind, scenes) in enumerate(chosen.items()):
    report[kind] = prompt_accuracy.score(
        pictures[i * num:(i + 1) * num], scenes, WORLD)
    true = [shapes.draw(scene, rng, size) for scene in scenes]
    report[kind]['scorer'] = prompt_accuracy.score(true, scenes, WORLD)['accuracy']
  return report


def drawer(sampler, params, mesh, tokenizer, c, *, seed: int):
  """prompts -> pictures, each of its own noise."""
  def draw(prompts):
    request = drawing.request_of(tokenizer, prompts, c.tokenizer.length)
    return drawing.draw_all(
        sampler, {'strong': params}, mesh, request, np.arange(len(prompts)), seed=seed,
        scale=c.sample.guidance, batch=c.sample.batch)
  return draw


def scalars(report: dict) -> dict:
  """{'accuracy/one_object': 0.9, ...}: a report as it is logged."""
  return {f'accuracy/{kind.replace(" ", "_")}': r['accuracy']
          for kind, r in report.items()}


def table(report: dict) -> str:
  """A line a kind."""
  lines = [f'{"prompts":<14}{"right":>7}{"95% interval":>16}{"pictures":>10}'
           f'{"scorer on true pictures":>26}']
  for kind, r in report.items():
    between = f'{r["low"]:.1%} to {r["high"]:.1%}'
    lines.append(f'{kind:<14}{r["accuracy"]:>7.1%}{between:>16}{r["n"]:>10}'
                 f'{r["scorer"]:>26.1%}')
  return '\n'.join(lines)


def check(c):
  """Raises Mistake where prompt accuracy makes no sense."""
  for kind in c.eval.kinds:
    if kind not in KINDS:
      raise cli.Mistake(f'config.eval.kinds has {kind!r}, not one of {list(KINDS)}.')
  if c.data.source != 'shapes':
    raise cli.Mistake('prompt_accuracy scores the shapes world; this config draws '
                      f'config.data.source={c.data.source!r}.')


def prompt_accuracies(flag, run, mesh):
  """Prints prompt accuracy by kind and writes it into the workdir."""
  c = run.c
  check(c)
  with cli.mistakes():
    sampler = drawing.make_sampler(run.model, c)
  draw = drawer(sampler, run.params, mesh, run.tokenizer, c, seed=flag.seed)
  report = measure(draw, c.eval.kinds, num=flag.num, seed=flag.seed, size=c.data.size)
  settings = {k: c.sample[k] for k in ('solver', 'steps', 'guidance')}
  print(f'{flag.workdir} ({run.source}), {c.sample.solver}, {c.sample.steps} steps, '
        f'guidance {c.sample.guidance}')
  print(table(report))
  cli.write_text(os.path.join(flag.workdir, 'prompt_accuracy.json'), json.dumps(
      report | settings | {'weights': run.source, 'seed': flag.seed}, indent=2) + '\n')


def make_likelihood(model, c):
  """(params, request with 'image' uint8 [b h w 3], key) -> bits a dimension f32[b].

  By the probability-flow ODE, of pictures with noise of one grey level added. Raises
  ValueError for a model of latents: theirs are not bits of pictures.
  """
  check_pixels(c)
  noise, _, _ = losses.process_of(c.diffusion)
  times, c = editing.upward(drawing.time_grid(c)), drawing.plain(c)
  def bits(params, request, key):
    level, probe = jax.random.split(key)
    image = request['image']
    x0 = (image + jax.random.uniform(level, image.shape)) / 128 - 1
    given = drawing.guidance_of(c, model, None, {'strong': params}, request)
    log_p = likelihood.log_likelihood(
        lambda x, t: given.denoise(x, t, ())[0], noise, x0, times, probe)
    return likelihood.bits_per_dim(log_p, image.shape[1:])
  return jax.jit(bits)


def make_bound(model, c):
  """As make_likelihood, by the variational bound of all the steps of training.

  The variance of a step is that of config.sample.solver, and so is what is clipped.
  """
  check_pixels(c)
  noise, n = losses.process_of(c.diffusion)[0], losses.trained_steps(c.diffusion)
  name, options = specs.read(drawing.METHODS, c.sample.solver, 'sample.solver')
  if not n or name != 'ddpm':
    raise ValueError('the variational bound is of ddpm and the discrete steps of '
                     f"training, such as 'linear(steps=1000)'; config.sample.solver is "
                     f'{c.sample.solver!r}, config.diffusion.schedule '
                     f'{c.diffusion.schedule!r}.')
  drawing.variance_of(c, model)  # raises what there is to raise
  c = c.copy_and_resolve_references()
  c.sample.guidance = 1.0
  def bits(params, request, key):
    x0 = request['image'] / 127.5 - 1
    given = drawing.guidance_of(c, model, None, {'strong': params}, request)
    def denoise(x, t):
      x0, share = process.parts(given.denoise(x, t, ())[0], x)
      return x0, share if share.size else float(options.get('variance') == 'large')
    return bound.total(denoise, noise, n, x0, key)
  return jax.jit(bits)


def check_pixels(c):
  """Raises ValueError for a model of latents."""
  if c.autoencoder.name != 'none':
    raise ValueError(f'config.autoencoder.name is {c.autoencoder.name!r}; bits a '
                     'dimension are known of models of pixels alone.')


def ode_bits(flag, run, mesh):
  """Prints bits a dimension by the probability-flow ODE."""
  bits(flag, run, make_likelihood, f'{run.c.sample.steps} steps of the ODE')


def bound_bits(flag, run, mesh):
  """Prints bits a dimension by the variational bound."""
  bits(flag, run, make_bound, f'bound by {run.c.sample.solver}')


def bits(flag, run, make, how: str):
  """Prints bits a dimension of pictures with their captions.

  make: of drawing, (model, config) -> what measures them. how: said of it.
  """
  c, key = run.c, jax.random.key(flag.seed)
  with cli.mistakes():
    if c.data.source in sources.SPLIT:
      c.data.split = flag.split
    sources.prepare(c.data)
    pictures = sources.Pictures(c.data)
  chosen = np.random.default_rng(flag.seed).permutation(len(pictures))[:flag.num]
  with cli.mistakes():
    measure_bits, found = make(run.model, c), []
  progress = cli.Progress(len(chosen), 'pictures')
  for i in range(0, len(chosen), c.sample.batch):
    some = [pictures[int(j)] for j in chosen[i:i + c.sample.batch]]
    request = drawing.request_of(
        run.tokenizer, [item['caption'] for item in some], c.tokenizer.length)
    request['image'] = np.stack([item['image'] for item in some])
    found.append(measure_bits(run.params, request, jax.random.fold_in(key, i)))
    progress(i + len(some))
  found = np.concatenate(found)
  print(f'{flag.workdir} ({run.source}): {found.mean():.3f} bits a dimension '
        f'(standard error {found.std() / len(found) ** 0.5:.3f}) on {len(found)} '
        f'pictures of {pictures.name}, {how}')


METRICS = {'prompt_accuracy': prompt_accuracies, 'bits_per_dim': ode_bits,
           'vlb': bound_bits}


def main(flag):
  for name in flag.metrics:
    if name not in METRICS:
      raise cli.Mistake(f'--metrics={name!r} is not one of {sorted(METRICS)}.')
  mesh = meshes.make()
  run = drawing.load(flag.workdir, mesh)
  cli.settle_sample(run.c, flag)
  for name in flag.metrics:
    METRICS[name](flag, run, mesh)


if __name__ == '__main__':
  cli.run(main, define_flags)
