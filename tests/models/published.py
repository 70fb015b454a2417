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
}
