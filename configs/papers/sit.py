r"""SiT-XL of patches of 2 on ImageNet at 256 pixels: arXiv:2401.08740.

python train.py --config=configs/papers/sit.py --workdir=runs/sit

Published FID of 50,000 samples after 7M steps, against ADM's statistics of the training
set: with a guidance of 1.5 2.06 by an SDE of 250 steps and 2.15 by the ODE; without it
8.3 (the last two from memory). The network, data and training are DiT's; it predicts
the velocity of straight lines at uniform times. Values are those of willisma/SiT,
train.py.

Not as published: the sampler is Heun's on the ODE, with 249 evaluations (the paper's is
Euler and Maruyama's on an SDE, or an adaptive Runge-Kutta). The velocity points from
picture to noise, which turns the sign of the network. What else dit.py says.
"""
from ml_collections import ConfigDict

from configs import paper
from configs.papers import dit


@paper.variants()
def get_config():
  c = dit.get_config('xl').unlock()
  c.model = ConfigDict(c.model.to_dict() | dict(time_unit='data'))
  c.diffusion.update(dict(schedule='flow', target='flow', loss_weight='flow', vlb=0.0))
  c.sample.update(dict(solver='heun', steps=125, timesteps='linear'))
  return c
