"""The published models as fields of `config.model`, with their exact sizes.

Each row: parameters, size and channels of what the model sees, the widths of its
context (text, pooled), and the fields, those of the paper's config where there is one.
The counts are those of the reference modules.
"""
from typing import Any, NamedTuple

from helpers import papers


class Model(NamedTuple):
  count: int
  size: int
  channels: int
  text: tuple[int, int]  # tokens and their width, 0 for none
  pooled: int
  fields: dict[str, Any]
  config: Any = None


UVIT = dict(name='uvit', width=512, depth=12, heads=8)


def of(paper, count, text, pooled=0, name=''):
  """The model of a paper's config, what it sees, and that config."""
  c = papers.config(paper, name)
  fields = {k: v for k, v in c.model.items() if k != 'dtype'}
  factor, channels = 1, 3
  if c.autoencoder.name != 'none':
    factor = 2 ** (len(c.autoencoder.channel_mult) - 1)
    channels = c.autoencoder.channels
  return Model(count, c.data.size // factor, channels, text, pooled, fields, c)


def dit(count, name):
  """DiT; its own count includes the fixed table of positions."""
  c = papers.config('dit', name)
  count -= (c.data.size // 16) ** 2 * c.model.width
  return of('dit', count, (1, 1001), 1001, name)


def edm2(count, name):
  """EDM2 for ImageNet-512, with the head that weighs the loss in training."""
  return of('edm2', count, (1, 1000), 1000, name)


MODELS = {
    'ddpm_cifar10': of('ddpm_cifar10', 35_746_307, (0, 0)),
    'improved_ddpm_cifar10': of('improved_ddpm_cifar10', 52_546_438, (0, 0)),
    'adm_64': of('adm', 295_904_454, (1, 1000), 1000, '64'),
    'adm_128': of('adm', 421_529_606, (1, 1000), 1000, '128'),
    'adm_256': of('adm', 553_838_086, (1, 1000), 1000, '256'),
    'adm_512': of('adm', 558_997_638, (1, 1000), 1000, '512'),
    'edm_cifar10_uncond': of('edm_cifar10', 55_733_891, (0, 0), 0, 'uncond'),
    'edm_cifar10_ncsnpp': of('edm_cifar10', 56_397_827, (0, 0), 0, 'uncond_ncsnpp'),
    'edm_cifar10_cond': of('edm_cifar10', 55_735_299, (1, 10), 10, 'cond'),
    'edm_imagenet64': of('edm_imagenet64', 295_899_267, (1, 1000), 1000),
    'edm2_xs': edm2(124_713_253, 'xs'), 'edm2_s': edm2(280_212_837, 's'),
    'edm2_m': edm2(497_807_781, 'm'), 'edm2_l': edm2(777_498_085, 'l'),
    'sd15': of('sd15', 859_520_964, (77, 768)),
    'sd21': of('sd21', 865_910_724, (77, 1024)),
    'sdxl': of('sdxl', 2_567_463_684, (77, 2048), 1280),
    'dit_s': dit(32_963_360, 's'), 'dit_b': dit(130_512_416, 'b'),
    'dit_l': dit(458_102_816, 'l'), 'dit_xl': dit(675_129_632, 'xl'),
    'dit_xl512': dit(676_014_368, 'xl512'),
    'sit': of('sit', 674_834_720, (1, 1001), 1001),
    'uvit_coco_small': of('uvit_coco', 44_692_644, (77, 768), 0, 'small'),
    'uvit_coco_deep': of('uvit_coco', 58_345_636, (77, 768), 0, 'deep'),
    'pixart_512': of('pixart', 610_856_096, (120, 4096), 0, '512'),
    'pixart_1024': of('pixart', 611_349_152, (120, 4096), 0, '1024'),
    'sd3_medium': of('sd3', 2_028_328_000, (333, 4096), 2048, 'medium'),
    'sd3.5_medium': of('sd3', 2_243_171_520, (333, 4096), 2048, '3.5-medium'),
    'sd3.5_large': of('sd3', 8_056_627_520, (333, 4096), 2048, '3.5-large'),
    'uvit_s_cifar10': Model(44_255_328, 32, 3, (0, 0), 0, UVIT),
    'uvit_l_imagenet_256': Model(286_763_172, 32, 4, (1, 1001), 1001, UVIT | dict(
        width=1024, depth=20, heads=16, table=True)),
    # Its published config leaves out the last convolution, which the next one has.
    'uvit_h_imagenet_256': Model(500_832_164 - 148, 32, 4, (1, 1001), 1001, UVIT | dict(
        width=1152, depth=28, heads=16, table=True, conv=False)),
    'uvit_h_imagenet_256_conv': Model(500_832_164, 32, 4, (1, 1001), 1001, UVIT | dict(
        width=1152, depth=28, heads=16, table=True)),
    'microdit_xl': Model(1_165_442_320, 32, 4, (77, 1024), 0, dict(name='microdit')),
}
