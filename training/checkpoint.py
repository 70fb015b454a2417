"""Checkpoints: asynchronous, by Orbax, with a checksum a leaf, read newest first.

checkpoints/<step>/ holds `ema` (the averages), `frozen` (parameters that are not
trained, where there are any), `state` (the rest of TrainState), `data` (the loader's
position) and `sums`; averages/<step>/, kept for averages made afterwards, and
best/<step>/, of the best score, `ema` and `frozen` alone.
"""
import fcntl
import json
import os
import zlib

import jax
import jax.numpy as jnp

from console import files
from console.errors import tell
from training import train_state

UNSIGNED = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}


def lock(workdir: str):
  """Holds a workdir for this process until it ends; keep the result alive.

  Raises BlockingIOError if another process holds it.
  """
  held = open(os.path.join(workdir, 'lock'), 'w')
  fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
  return held


@jax.jit
def checksums(tree):
  """A uint32 for each leaf, the same however the leaf is split over devices.

  The sum of every element's bits times an odd number of its place, modulo 2^32: a
  single flipped bit always changes it.
  """
  @jax.jit  # traced once for all leaves of one shape
  def one(x):
    bits = jax.lax.bitcast_convert_type(x, UNSIGNED[x.dtype.itemsize])
    place = jnp.zeros(x.shape, jnp.uint32)
    for i, size in enumerate(x.shape):
      place = place * jnp.uint32(size) + jax.lax.broadcasted_iota(
          jnp.uint32, x.shape, i)
    odd = place * jnp.uint32(2654435761) * 2 + 1
    return jnp.sum(bits.astype(jnp.uint32) * odd, dtype=jnp.uint32)
  return jax.tree.map(one, tree)


def sums_of(tree) -> dict:
  """{leaf name: checksum}."""
  fetched = jax.device_get(checksums(tree))
  return {jax.tree_util.keystr(path): int(value)
          for path, value in jax.tree.leaves_with_path(fetched)}


def crc(place) -> int:
  """A checksum of a place in the data, which is JSON."""
  return zlib.crc32(json.dumps(place, sort_keys=True).encode())


def items_of(state, all_of_it: bool = True) -> dict:
  """The items of a checkpoint of a TrainState: all, or what pictures are drawn from."""
  items = {'ema': state.ema, 'frozen': state.frozen,
           'state': state.replace(ema=None, frozen=None) if all_of_it else None}
  return {name: tree for name, tree in items.items() if tree is not None}


def shapes_of(state):
  """A TrainState's shapes, each with its sharding: where to restore it."""
  return jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state)


class Checkpoints:
  """The checkpoints in a folder of a workdir, to write and to read.

  The newest `keep` stay; None keeps all. A step that cannot be read whole is passed
  over for the one before it, and `say` is told so, in a line.
  """

  def __init__(self, workdir: str, folder: str = 'checkpoints', *, read_only=False,
               keep: int | None = None, say=tell):
    import orbax.checkpoint as ocp  # here, as it takes long and an export needs none
    self.say, self.ocp = say, ocp
    self.manager = ocp.CheckpointManager(
        os.path.join(os.path.abspath(workdir), folder),
        options=ocp.CheckpointManagerOptions(
            max_to_keep=keep, create=not read_only, read_only=read_only))

  def steps(self) -> list[int]:
    """Steps that there are, newest first."""
    return sorted(self.manager.all_steps(read=True), reverse=True)

  def save(self, step: int, state, *others):
    """Starts to write a TrainState, and what others know of the run (`get_state`): the
    iterator its place. It is JSON, and no two use a key."""
    self._write(step, items_of(state), {
        key: value for one in others for key, value in one.get_state().items()})

  def save_ema(self, step: int, state):
    """Starts to write the averages of a TrainState alone."""
    self._write(step, items_of(state, False))

  def restore(self, state, *others):
    """The newest whole TrainState, with the others set as they were; None if none is.

    state: a TrainState of ShapeDtypeStructs with shardings: where each leaf goes.
    Raises ValueError if the iterator does not go on from its place (`set_state`).
    """
    found = self._newest(items_of(state), self.steps())
    if found is None:
      return None
    for one in others:
      one.set_state(found['data'])
    return found['state'].replace(ema=tuple(found['ema']), frozen=found.get('frozen'))

  def restore_ema(self, state, steps=None):
    """(step, all parameters by each average) of the newest whole step; None if none is.

    state: as in `restore`; its `ema` and `frozen` count. steps: to look at; None: all.
    """
    found = self._newest(items_of(state, False),
                         self.steps() if steps is None else steps)
    return found and (found['step'], tuple(
        train_state.combine(average, found.get('frozen')) for average in found['ema']))

  def drop_from(self, step: int):
    """Deletes the checkpoints of `step` and later ones."""
    self.manager.wait_until_finished()
    for later in [s for s in self.steps() if s >= step]:
      self.manager.delete(later)

  def _write(self, step: int, trees: dict, place=None):
    """One of that step that is there already could not be read: it gives way."""
    if step in self.steps():
      self.manager.delete(step)
    sums = {k: sums_of(v) for k, v in trees.items()} | {'data': crc(place)}
    args = self.ocp.args
    if not self.manager.save(step, force=True, args=args.Composite(
        data=args.JsonSave(place), sums=args.JsonSave(sums),
        **{k: args.StandardSave(v) for k, v in trees.items()})):
      raise RuntimeError(f'Orbax did not save step {step}.')

  def _newest(self, items: dict, steps):
    args = self.ocp.args
    for step in steps:
      try:
        got = self.manager.restore(step, args=args.Composite(
            data=args.JsonRestore(), sums=args.JsonRestore(),
            **{k: args.StandardRestore(v) for k, v in items.items()}))
        for item in items:
          for leaf, value in sums_of(got[item]).items():
            if got['sums'][item].get(leaf) != value:
              raise ValueError(f'the bits of {item}{leaf} are not those written')
        if got['sums']['data'] != crc(got['data']):
          raise ValueError('the place in the data is not the one written')
        return {'step': step} | {item: got[item] for item in (*items, 'data')}
      except Exception as e:  # whatever a damaged file makes Orbax raise
        reason = ' '.join(str(e).split())[:200]
        self.say(f'checkpoint {step} cannot be read and is passed over: {reason}')
    return None

  def close(self):
    """Waits for what is still being written; raises what went wrong with it."""
    self.manager.wait_until_finished()
    self.manager.close()


class Best:
  """The averages at the step with the best score so far, in best/ of a workdir.

  best.json says which it is, so that a run that is resumed goes on from there.
  """
  FILE, FOLDER = 'best.json', 'best'

  def __init__(self, workdir: str, score: str, higher: bool):
    """score: its name. higher: whether more is better."""
    self.score, self.sign = score, 1 if higher else -1
    self.path = os.path.join(workdir, self.FILE)
    self.kept = Checkpoints(workdir, self.FOLDER, keep=1)
    found = files.read_json(self.path) if os.path.exists(self.path) else {}
    self.value = found.get('value') if found.get('score') == score else None

  def improves(self, scores: dict) -> bool:
    """Whether {name: Score} has a better one than there was."""
    new = scores.get(self.score)
    return new is not None and (
        self.value is None or self.sign * new.value > self.sign * self.value)

  def save(self, step: int, state, scores: dict):
    """Keeps the averages of a TrainState in the place of those before."""
    self.value = scores[self.score].value
    self.kept.save_ema(step, state)
    self.kept.manager.wait_until_finished()
    if jax.process_index() == 0:
      files.write_json(self.path, {
          'step': step, 'score': self.score, 'value': self.value})

  def close(self):
    self.kept.close()
