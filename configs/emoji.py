r"""Every emoji of the Noto Color Emoji font at 64 pixels, with its name.

python train.py --config=configs/emoji.py --workdir=runs/emoji

For one GPU, bfloat16. The test split holds combinations of a person, an activity and a
skin tone that training never shows together, such as "woman astronaut: dark skin tone".
"""
from configs import base


def get_config():
  c = base.get_config()
  c.data.update(dict(source='emoji', size=64, threads=8))
  c.tokenizer.update(dict(vocab=4_096, length=24))
  c.model.update(dict(
      dtype='bfloat16', width=64, channel_mult=(1, 2), num_res_blocks=2,
      attention=(0, 1), head_width=32, groups=16, patch=4, positions=True))
  c.condition.update(dict(width=192, depth=3, heads=6))
  c.diffusion.update(dict(target='x0', loss_weight='x0'))
  c.optim.update(dict(name='muon', lr=1e-3, decay_from=0.5,
                      ema=('exponential(decay=0.9995)',)))
  c.train.update(dict(steps=30_000, batch=256, log_every=100, checkpoint_every=2_000,
                      sample_every=2_000))
  c.sample.prompts = (
      'woman astronaut: dark skin tone', 'red apple', 'cat with tears of joy', 'rocket',
      'man cook: medium skin tone', 'flag: Japan')
  return c
