"""Convolutions and their gradients, and other ways to that of the weights.

python benchmarks/convolution.py

GFLOP/s a processor second of a 3x3 convolution, of its gradient to the input and of
that to the weights, as XLA has them; then of the last as nine products of shifted
pictures, and as one product with all nine side by side.
"""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import jax
import jax.numpy as jnp
import numpy as np

SHAPES = ((4, 32, 128, 128), (4, 16, 256, 256), (4, 8, 256, 256), (4, 32, 256, 128),
          (32, 32, 64, 64), (48, 8, 56, 56), (48, 8, 112, 112), (48, 4, 112, 112))


def convolve(x, w):
  return jax.lax.conv_general_dilated(x, w, (1, 1), 'SAME',
                                      dimension_numbers=('NHWC', 'HWIO', 'NHWC'))


def shifted(x):
  """The nine pictures [b h w c] under each place of the kernel."""
  h, w = x.shape[1:3]
  x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
  return [x[:, i:i + h, j:j + w] for i in range(3) for j in range(3)]


def nine_products(x, w, g):
  flat = g.reshape(-1, g.shape[-1])
  return jnp.stack([y.reshape(-1, x.shape[-1]).T @ flat for y in shifted(x)])


def one_product(x, w, g):
  beside = jnp.concatenate(shifted(x), -1).reshape(-1, 9 * x.shape[-1])
  return beside.T @ g.reshape(-1, g.shape[-1])


WAYS = {
    'forward': lambda x, w, g: convolve(x, w),
    'to the input': lambda x, w, g: jax.vjp(lambda x: convolve(x, w), x)[1](g)[0],
    'to the weights': lambda x, w, g: jax.vjp(lambda w: convolve(x, w), w)[1](g)[0],
    'as nine products': nine_products, 'as one product': one_product}


def speed(way, *arrays, flops: float, rounds: int = 10) -> float:
  """GFLOP/s a processor second, by the median."""
  run, spent = jax.jit(way), []
  for _ in range(rounds + 1):
    start = time.process_time()
    jax.block_until_ready(run(*arrays))
    spent.append(time.process_time() - start)
  return flops / np.median(spent[1:]) / 1e9


def main():
  print(f'| batch, side, channels in, out | {" | ".join(WAYS)} |\n|{"-|" * 6}')
  for b, side, wide, out in SHAPES:
    x, w, g = (jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate(
        ((b, side, side, wide), (3, 3, wide, out), (b, side, side, out))))
    found = [speed(way, x, w, g, flops=18 * b * side**2 * wide * out)
             for way in WAYS.values()]
    print(f'| {b}, {side}, {wide}, {out} | '
          + ' | '.join(f'{each:.0f}' for each in found) + ' |', flush=True)


if __name__ == '__main__':
  main()
