"""From config.eval to scores."""
from typing import Any, NamedTuple
import warnings

import numpy as np

from configs import base, validation
from console.errors import UserNote, tell
from data import tokenizers
from diffusion import specs
from evaluation import gathering, prompts, statistics
from evaluation.metrics import METRICS
from evaluation.scores import Run
from inference.generation import sample_request
from inference.requests import build_request
from training import sharding


def build(c) -> dict:
  """{spec: Metric} of config.eval.metrics, each of which may have options.

  Raises:
    ValueError: a metric that is none, or makes no sense with this config.
    OSError: weights that a metric needs and that are not there.
  """
  prompts.check(c)
  metrics = {spec: specs.build(METRICS, spec, 'eval.metrics', c=c)
             for spec in c.eval.metrics}
  seen = [name for metric in metrics.values() for name in metric.units]
  if twice := [name for name in seen if seen.count(name) > 1]:
    raise ValueError(f'config.eval.metrics has {twice[0]!r} twice.')
  gathering.check(set(needed(metrics, 'needs') + needed(metrics, 'true')))
  return metrics


class Evaluation(NamedTuple):
  """One of those of a run.

  Attributes:
    name: '' for that of config.eval; else of config.eval.more, and, with a slash,
      before the names of its scores.
    every: steps.
    config: whose `eval` and `sample` are its own.
    metrics: of `build`.
  """
  name: str
  every: int
  config: Any
  metrics: dict

  @property
  def prefix(self) -> str:
    return f'{self.name}/' if self.name else ''

  @property
  def units(self) -> dict:
    """{name of a score: unit}."""
    return {self.prefix + name: unit for name, unit in units(self.metrics).items()}


def planned(c) -> list[Evaluation]:
  """The evaluations of a run: that of config.eval, if it has any, and those of `more`.

  Raises as `build`, and ValueError where config.eval.best is no score of theirs.
  """
  every = c.train.eval_every
  found = [Evaluation('', every, c, build(c))] if every else []
  for name, entry in c.eval.more.items():
    own = validation.with_evaluation(c, name)
    try:
      found.append(Evaluation(name, entry.every, own, build(own)))
    except ValueError as e:
      raise ValueError(f'config.eval.more.{name}: {e}') from e
  names = [name for one in found for name in one.units]
  if c.eval.best and c.eval.best not in names:
    raise ValueError(f'config.eval.best is {c.eval.best!r}; the scores along the way '
                     f'are {names}.')
  return found


def higher_is_better(evaluations: list[Evaluation], score: str) -> bool:
  """Whether more is better of a score of these evaluations."""
  return next(metric.higher for one in evaluations for metric in one.metrics.values()
              if score in [one.prefix + name for name in metric.units])


def measure_all(evaluations, model, seed: int) -> dict:
  """{name: Score} of evaluations, each with its own settings."""
  return {one.prefix + name: score for one in evaluations for name, score in measure(
      one.metrics, model.replace(config=one.config), seed).items()}


def needed(metrics: dict, of: str) -> list:
  """The Needs of all metrics, each once: of generated pictures ('needs') or 'true'."""
  return list(dict.fromkeys(
      need for metric in metrics.values() for need in getattr(metric, of)))


def pictures_of(model, prompts, seed: int, progress=None) -> np.ndarray:
  """A picture of each prompt, of noise by its place among them: uint8 [m h w c]."""
  c = model.config
  request = build_request(model.tokenizer, prompts, c.tokenizer.length,
                          base.height_width(c.data.size))
  return sample_request(model, request, np.arange(len(prompts)), seed=seed,
                        progress=progress and progress(len(prompts), 'pictures'))


def measure(metrics: dict, model, seed: int, progress=None, *, generate=pictures_of,
            store=None, keep=None) -> dict:
  """{name: Score} of all metrics.

  The pictures that several of them need are drawn once: config.eval.num, with the
  prompts that config.eval.prompts says, picture i of noise by the seed and i.

  Args:
    model: inference.Model, whose config.sample and config.eval count.
    generate: see Run.
    store: None, or the resuming.Store in which the shared pictures' features are kept.
    keep: None, or called with (number of the first, uint8[b h w 3]) of each batch of
      the shared pictures, by every process.
  """
  run = Run(model, seed, generate, progress)
  true, needs = needed(metrics, 'true'), needed(metrics, 'needs')
  statistics_of = ''
  if true:
    found, statistics_of = statistics.find(model.config, true, model.mesh, progress)
    run = run._replace(true=found)
  if needs or keep:
    run = run._replace(**shared(model, needs, seed, progress, store, keep))
  run = run._replace(about={
      need: f'{gathering.network(need.network, need.preprocessing).preprocessing}'
            + f', {statistics_of}' * (need in true) for need in {*needs, *true}})
  scored = {}
  for metric in metrics.values():
    scored |= metric.measure(run)
  return scored


def tell_of_cut(prompts, tokenizer, length: int):
  """Says how many prompts are too long, in a line for all of them."""
  cut = sum(tokenizers.encode(tokenizer, text, length)[1] > 0 for text in prompts)
  if cut:
    tell(f'{cut} of {len(prompts)} prompts are too long: their last tokens are cut '
         f'(config.tokenizer.length is {length}).')


def shared(model, needs, seed: int, progress=None, store=None, keep=None) -> dict:
  """The pictures that metrics share: {'prompts': of each, 'generated': {need: ...}}."""
  c, num = model.config, model.config.eval.num
  texts = prompts.of_pictures(c, model.tokenizer, seed)
  batch = c.sample.batch * sharding.batch_shards(model.mesh)  # the same on a device
  tell_of_cut(set(texts), model.tokenizer, c.tokenizer.length)
  wide = c.copy_and_resolve_references()
  wide.sample.batch = batch
  wide = model.replace(config=wide)
  def read(index):
    request = build_request(model.tokenizer, [texts[i] for i in index],
                            c.tokenizer.length, model.size)
    pictures = sample_request(wide, request, index, seed=seed)
    if keep:
      keep(int(index[0]), pictures[:len(np.unique(index))])
    return sharding.local_rows(pictures)
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', UserNote)  # of each prompt that is cut
    found = gathering.gather(needs, read, num, model.mesh, batch, store=store,
                             progress=progress and progress(num, 'pictures'))
  return {'prompts': tuple(texts), 'generated': found}


def units(metrics: dict) -> dict:
  """{name of a score: unit} of all metrics."""
  return {name: unit for metric in metrics.values()
          for name, unit in metric.units.items()}
