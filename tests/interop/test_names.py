"""Foreign names against ours: none is left over, on either side."""
import collections
import functools
import json
import math
import pathlib
import sys

import jax
import pytest

ROOT = pathlib.Path(__file__).parent.parent
sys.path.append(str(ROOT / 'models'))

from interop import names
import models
import test_encoder_references as encoders
import test_references as references
from training import rules

FOREIGN = json.loads((ROOT / 'fixtures' / 'foreign.json').read_text())


@functools.cache
def shapes(case):
  """The parameters of our module of a case, as shapes."""
  if case not in references.CASES:
    return encoders.shapes(case)
  given = references.case(case)
  backbone = models.make(models.BACKBONES, references.CASES[case], 'config.model')
  return jax.eval_shape(backbone.init, jax.random.key(0), *(
      given[k] for k in ('x', 't', 'text', 'mask', 'pooled')))['params']


@pytest.mark.parametrize('case', FOREIGN)
def test_every_foreign_parameter_is_one_of_ours_of_its_size(case):
  family, sizes = FOREIGN[case]
  params = shapes(case)
  want = dict(zip(jax.tree.leaves(rules.names(params)), jax.tree.leaves(params)))
  size, blocks = collections.Counter(), collections.defaultdict(list)
  for foreign, (ours, block) in names.ours(family, sizes).items():
    size[ours] += math.prod(sizes[foreign])
    blocks[ours].append(block)
  assert size == {name: math.prod(p.shape) for name, p in want.items()}
  for name, found in blocks.items():
    depth = [None] if 'blocks/' not in name else list(range(want[name].shape[0]))
    assert sorted(found, key=lambda b: b or 0) == depth
