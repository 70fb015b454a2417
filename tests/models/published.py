"""The published models as fields of `config.model`, with their exact sizes.

Each row: parameters, size and channels of what the model sees, the widths of its
context (text, pooled), and the fields. The counts are those of the reference modules.
"""
from typing import Any, NamedTuple


class Model(NamedTuple):
  count: int
  size: int
  channels: int
  text: tuple[int, int]  # tokens and their width, 0 for none
  pooled: int
  fields: dict[str, Any]


DDPM = dict(
    name='unet', width=128, mults=(1, 2, 2, 2), blocks=2, attention=(0, 1, 0, 0),
    kind='self', heads=1, features='ddpm', time='index', scale_shift=False, dropout=0.1)
IMPROVED = dict(
    name='unet', out=6, width=128, mults=(1, 2, 2, 2), blocks=3, attention=(0, 1, 1, 0),
    kind='self', heads=4, eps=1e-5, time='index', pad=(1, 1), dropout=0.3)
ADM = dict(
    name='unet', out=6, width=256, blocks=2, kind='self', head_width=64, eps=1e-5,
    time='index', resample='block')
SONG = dict(
    name='unet', width=128, mults=(2, 2, 2), blocks=4, attention=(0, 1, 0), kind='self',
    heads=1, features='ddpm', time='edm', pooled='before', scale_shift=False,
    resample='block', song=True, dropout=0.13)
NCSN = SONG | dict(features='fourier', noise=256, taps=(1, 3, 3, 1), input_skips=True)
SD = dict(
    name='unet', channels=4, width=320, mults=(1, 2, 4, 4), blocks=2,
    attention=(1, 1, 1, 0), kind='spatial', eps=1e-5, time='index', pad=(1, 1),
    pooled='mlp', scale_shift=False)

DIT = dict(name='dit', out=8, time='index')
UVIT = dict(name='uvit', width=512, depth=12, heads=8)
PIXART = dict(name='dit', out=8, width=1152, depth=28, heads=16, shared=True,
              cross=True, pooled='sizes', time='index')
SD3 = dict(name='mmdit', width=1536, depth=24, heads=24)


def dit(count, size, width, depth, heads):
  """DiT of patch 2; its own count includes the fixed table of positions."""
  count -= (size // 2) ** 2 * width
  return Model(count, size, 4, (1, 1001), 1001, DIT | dict(
      width=width, depth=depth, heads=heads))


def edm2(count, width):
  """EDM2 for ImageNet-512; its own count includes a head of 128 that only weighs the
  loss (arXiv:2312.02696 eq. 21)."""
  return Model(count - 128, 64, 4, (1, 1000), 1000, dict(name='edm2', width=width))


MODELS = {
    'ddpm_cifar10': Model(35_746_307, 32, 3, (0, 0), 0, DDPM),
    'improved_ddpm_cifar10': Model(52_546_438, 32, 3, (0, 0), 0, IMPROVED),
    'adm_64': Model(295_904_454, 64, 3, (1, 1000), 1000, ADM | dict(
        width=192, mults=(1, 2, 3, 4), blocks=3, attention=(0, 1, 1, 1), dropout=0.1)),
    'adm_128': Model(421_529_606, 128, 3, (1, 1000), 1000, ADM | dict(
        mults=(1, 1, 2, 3, 4), attention=(0, 0, 1, 1, 1), heads=4)),
    'adm_256': Model(553_838_086, 256, 3, (1, 1000), 1000, ADM | dict(
        mults=(1, 1, 2, 2, 4, 4), attention=(0, 0, 0, 1, 1, 1))),
    'adm_512': Model(558_997_638, 512, 3, (1, 1000), 1000, ADM | dict(
        stem=128, mults=(0.5, 1, 1, 2, 2, 4, 4), attention=(0, 0, 0, 0, 1, 1, 1))),
    # Without the matrix of EDM's nine augmentation labels: nothing here augments so.
    'edm_cifar10_ddpmpp': Model(55_733_891 - 9 * 128, 32, 3, (0, 0), 0, SONG),
    'edm_cifar10_ncsnpp': Model(56_397_827 - 9 * 256, 32, 3, (0, 0), 0, NCSN),
    'edm_cifar10_ddpmpp_cond': Model(55_735_299 - 9 * 128, 32, 3, (1, 10), 10, SONG),
    'edm_imagenet_64': Model(295_899_267, 64, 3, (1, 1000), 1000, ADM | dict(
        out=3, width=192, mults=(1, 2, 3, 4), blocks=3, attention=(0, 1, 1, 1),
        dropout=0.1, time='edm')),
    'sd_1.5': Model(859_520_964, 64, 4, (77, 768), 0, SD | dict(heads=8)),
    'sd_2.1': Model(865_910_724, 96, 4, (77, 1024), 0, SD | dict(head_width=64)),
    'sdxl': Model(2_567_463_684, 128, 4, (77, 2048), 2816, SD | dict(
        mults=(1, 2, 4), attention=(0, 2, 10), middle=10, head_width=64)),
    'dit_s': dit(32_963_360, 32, 384, 12, 6),
    'dit_b': dit(130_512_416, 32, 768, 12, 12),
    'dit_l': dit(458_102_816, 32, 1024, 24, 16),
    'dit_xl_256': dit(675_129_632, 32, 1152, 28, 16),
    'dit_xl_512': dit(676_014_368, 64, 1152, 28, 16),
    'sit_xl': Model(674_834_720, 32, 4, (1, 1001), 1001, DIT | dict(
        width=1152, depth=28, heads=16, time='data')),
    'uvit_s_cifar10': Model(44_255_328, 32, 3, (0, 0), 0, UVIT | dict(channels=3)),
    'uvit_l_imagenet_256': Model(286_763_172, 32, 4, (1, 1001), 1001, UVIT | dict(
        width=1024, depth=20, heads=16, table=True)),
    # Its published config leaves out the last convolution, which the next one has.
    'uvit_h_imagenet_256': Model(500_832_164 - 148, 32, 4, (1, 1001), 1001, UVIT | dict(
        width=1152, depth=28, heads=16, table=True, conv=False)),
    'uvit_h_imagenet_256_conv': Model(500_832_164, 32, 4, (1, 1001), 1001, UVIT | dict(
        width=1152, depth=28, heads=16, table=True)),
    'uvit_s_coco': Model(44_692_644, 32, 4, (77, 768), 0, UVIT),
    'uvit_s_deep_coco': Model(58_345_636, 32, 4, (77, 768), 0, UVIT | dict(depth=16)),
    'pixart_512': Model(610_856_096, 64, 4, (120, 4096), 0, PIXART),
    'pixart_1024': Model(611_349_152, 128, 4, (120, 4096), 3, PIXART | dict(place=0.5)),
    'microdit_xl': Model(1_165_442_320, 32, 4, (77, 1024), 0, dict(name='microdit')),
    'edm2_xs': edm2(124_713_253, 128), 'edm2_s': edm2(280_212_837, 192),
    'edm2_m': edm2(497_807_781, 256), 'edm2_l': edm2(777_498_085, 320),
    'sd3_medium': Model(2_028_328_000, 128, 16, (333, 4096), 2048, SD3),
    'sd3.5_medium': Model(2_243_171_520, 128, 16, (333, 4096), 2048, SD3 | dict(
        grid=384, place=1 / 6, dual=13, qk_norm=True)),
    'sd3.5_large': Model(8_056_627_520, 128, 16, (333, 4096), 2048, SD3 | dict(
        width=2432, depth=38, heads=38, qk_norm=True)),
}
