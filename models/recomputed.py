"""What of a block is saved for its gradient; the rest is computed again."""
from flax import linen as nn
import jax

CHEAP = frozenset(  # primitives that take no longer than reading their result would
    'add add_any sub mul div neg max min clamp integer_pow pow square sqrt rsqrt exp '
    'exp2 log tanh logistic erf sin cos abs sign eq ne lt le gt ge and or not select_n '
    'stop_gradient convert_element_type copy iota broadcast_in_dim reshape squeeze '
    'transpose slice pad concatenate split rev'.split())
REMAT = {  # what of a block is recomputed for its gradient ('dots': all but products)
    'none': jax.checkpoint_policies.everything_saveable,
    'elementwise': lambda primitive, *_, **__: primitive.name not in CHEAP,
    'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    'full': jax.checkpoint_policies.nothing_saveable,
}


def checkpointed(run, policy: str):
  """run, a function of a module and arrays, under REMAT[policy]."""
  return run if policy == 'none' else nn.remat(run, policy=REMAT[policy],
                                               prevent_cse=False)
