"""Pictures as networks take them, by name: each exactly as one reference does it.

A published number is one of its preprocessing, too: the resize, its rounding, and what
is cut. Each row takes pictures uint8[b h w 3] and the network's size s, and returns
[b s s 3]: uint8 where the reference has rounded (the network itself brings those to its
range) or float32 in the network's own range.
"""
import numpy as np
from PIL import Image

from evaluation.features import resampling

IMAGENET = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
CLIP = (np.float32([0.48145466, 0.4578275, 0.40821073]),
        np.float32([0.26862954, 0.26130258, 0.27577711]))
INCEPTION = np.float32([128 / 255] * 3), np.float32([128 / 255] * 3)


def adm(images, size: int):
  """TensorFlow 1's bilinear inside the graph, not antialiased, corners aligned to its
  upper left: ADM's evaluator, torch-fidelity, clean-fid's legacy_tensorflow."""
  return (resampling.tf1_bilinear(np.float32(images), size, size) - 128) / 128


def pytorch_fid(images, size: int):
  """PyTorch's bilinear, not antialiased, of pictures in [0, 1]: pytorch-fid, and
  clean-fid's legacy_pytorch."""
  x = np.float32(images) / np.float32(255)
  return 2 * resampling.torch_bilinear(x, size, size) - 1


def clean_fid(images, size: int):
  """Pillow's bicubic, antialiased, of each channel as float32, not rounded, cut to [0,
  255]: clean-fid's clean (arXiv:2104.11222)."""
  planes = np.float32(images).transpose(0, 3, 1, 2)
  x = np.stack([[bicubic(plane, size, size) for plane in image] for image in planes])
  return (x.clip(0, 255).transpose(0, 2, 3, 1) - 128) / 128


def clean_fid_uint8(images, size: int):
  """The same of whole pictures, rounded to uint8 as Pillow rounds."""
  return (np.float32(stretched(images, size)) - 128) / 128


def stretched(images, size: int):
  """Pillow's bicubic to a square, rounded to uint8: dgm-eval's for FD-DINOv2
  (arXiv:2306.04675)."""
  return np.stack([bicubic(image, size, size) for image in images])


def edm2(images, size: int):
  """PyTorch's antialiased bicubic, not rounded: EDM2's for FD-DINOv2."""
  rows, columns = (resampling.bicubic(n, size, -0.5, antialias=True)
                   for n in images.shape[1:3])
  x = np.einsum('yh,bhwc->bywc', rows, np.float32(images), optimize=True)
  x = np.einsum('xw,bywc->byxc', columns, x, optimize=True)
  return np.float32((x / np.float32(255) - IMAGENET[0]) / IMAGENET[1])


def clip(images, size: int, crop=lambda excess: round(excess / 2)):
  """The shorter side to s by Pillow's bicubic, rounded to uint8, then the middle: as in
  openai/CLIP, which rounds half a pixel of the crop to the even one."""
  h, w = images.shape[1:3]
  short = min(h, w)
  height, width = (int(size * n / short) for n in (h, w))
  top, left = (crop(n - size) for n in (height, width))
  return np.stack([bicubic(image, height, width)[top:top + size, left:left + size]
                   for image in images])


def clip_floor(images, size: int):
  """The same, but half a pixel of the crop is left out: as in transformers' CLIP."""
  return clip(images, size, lambda excess: excess // 2)


def hpsv2(images, size: int):
  """The longer side to s by Pillow's bicubic, rounded to uint8, black around it: as
  HPSv2's open_clip does it (arXiv:2306.09341)."""
  h, w = images.shape[1:3]
  height, width = (round(n * (size / max(h, w))) for n in (h, w))
  top, left = (size - height) // 2, (size - width) // 2
  out = np.zeros((len(images), size, size, 3), np.uint8)
  for canvas, image in zip(out, images):
    canvas[top:top + height, left:left + width] = bicubic(image, height, width)
  return out


def cmmd(images, size: int):
  """The middle square, then Pillow's bicubic, rounded to uint8: CMMD's
  (arXiv:2401.09603)."""
  h, w = images.shape[1:3]
  side = min(h, w)
  top, left = (h - side) // 2, (w - side) // 2
  return stretched(images[:, top:top + side, left:left + side], size)


def lpips(images, size: int):
  """[-1, 1], at the size that they have (`size` is not looked at): lpips."""
  del size
  return np.float32(images) / np.float32(127.5) - 1


def box(images, size: int):
  """The mean of what each pixel covers, rounded to uint8: Pillow's box filter."""
  if images.shape[1:3] == (size, size):
    return images
  return np.stack([np.asarray(Image.fromarray(image).resize(
      (size, size), Image.Resampling.BOX)) for image in images])


def bicubic(image, height: int, width: int):
  """Pillow's, of uint8[h w 3] or float32[h w]."""
  return np.asarray(Image.fromarray(image).resize((width, height),
                                                  Image.Resampling.BICUBIC))


PREPROCESSINGS = {  # (uint8[b h w 3], s) -> float32 or uint8[b s s 3]
    'adm': adm, 'box': box, 'clean_fid': clean_fid, 'clean_fid_uint8': clean_fid_uint8,
    'clip': clip, 'clip_floor': clip_floor, 'cmmd': cmmd, 'dinov2': stretched,
    'edm2': edm2, 'hpsv2': hpsv2, 'lpips': lpips, 'pytorch_fid': pytorch_fid}
