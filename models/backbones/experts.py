"""MLPs of which each chooses the tokens that it works on."""
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from models import layers

STD = 0.02  # of first weights, but for those that end a residual


class Experts(nn.Module):
  """MLPs that each choose the tokens they work on (arXiv:2202.09368).

  capacity: how many experts a token has on average; any one has from none to all.
  """
  experts: int
  capacity: float
  hidden: int
  std: float
  dtype: Any

  @nn.compact
  def __call__(self, x):
    """x: [b n d]. Returns the same, zero for a token that no expert chose."""
    router = nn.Dense(self.experts, use_bias=False, dtype=jnp.float32, name='router',
                      kernel_init=nn.initializers.normal(STD))
    shares = nn.softmax(router(x)).swapaxes(1, 2)  # [b e n], summing to 1 over experts
    k = int(self.capacity * x.shape[1] / self.experts)
    share, chosen = jax.lax.top_k(shares, k)       # [b e k]
    mlps = nn.vmap(layers.MLP, in_axes=1, out_axes=1, variable_axes={'params': 0},
                   split_rngs={'params': True}, axis_size=self.experts)
    mlps = mlps(self.hidden, act='gelu', bias=False, stds=(STD, self.std),
                dtype=self.dtype, name='expert_blocks')
    y = mlps(jax.vmap(lambda x, places: x[places])(x, chosen))  # [b e k d]
    add = jax.vmap(lambda total, places, y: total.at[places].add(y))
    total = add(jnp.zeros(x.shape, jnp.float32), chosen, share[..., None] * y)
    return total.astype(x.dtype)
