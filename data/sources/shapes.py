"""The shapes world: pictures that this project draws itself, with captions.

One or two of six shapes in one of seven colours on a light canvas; two of them stand
in a stated relation. Small enough to learn on a laptop, hard enough to need language:
`test` holds one in ten of the two-object scenes, which training never shows, and
`test_pairs` every scene with a colour-shape pair that training never shows.
"""
import dataclasses
import math

from PIL import Image, ImageDraw
import numpy as np
import tensorflow_datasets as tfds

from data import images
from data.problems import refused
from data.sources import drawn

CANVAS = (240, 240, 240)
COLOURS = {
    'red': (220, 40, 40), 'orange': (245, 140, 30), 'yellow': (240, 210, 40),
    'green': (40, 170, 60), 'blue': (50, 80, 220), 'purple': (150, 50, 180),
    'black': (30, 30, 30)}
SHAPES = ('circle', 'square', 'triangle', 'cross', 'star', 'ring')
OPPOSITE = {'left of': 'right of', 'above': 'below'}  # canonical -> its mirror
OPPOSITE |= {mirror: name for name, mirror in OPPOSITE.items()}
UNSEEN_PAIRS = {
    ('purple', 'star'), ('green', 'ring'), ('red', 'cross'), ('black', 'triangle')}
OBJECTS = tuple((colour, shape) for colour in COLOURS for shape in SHAPES)
SEEN_OBJECTS = tuple(pair for pair in OBJECTS if pair not in UNSEEN_PAIRS)
UNITS = 32        # of length along the shorter side of the canvas
DRAWN = 256       # pixels along it before the box filter
GAP = 2.0         # least distance between two objects, units
PARAPHRASES = 0.2  # share of the captions
# Share of the training scenes told with `left of` or `above`. With a half, neither the
# order of the words nor the relation alone says anything of the places, and networks
# stay for very long at knowing neither; the tests ask for all four alike.
FORWARD = 0.8


@dataclasses.dataclass(frozen=True)
class Scene:
  """One object, or two with `first` standing in `relation` to `second`."""
  first: tuple[str, str]
  relation: str | None = None
  second: tuple[str, str] | None = None

  objects = property(lambda self: tuple(filter(None, (self.first, self.second))))
  unseen = property(lambda self: any(pair in UNSEEN_PAIRS for pair in self.objects))

  def mirrored(self) -> 'Scene':
    """The same scene told from the other object: right of for left of."""
    return Scene(self.second, OPPOSITE[self.relation], self.first)

  @property
  def forward(self) -> 'Scene':
    """The same scene told with `left of` or `above`."""
    return self if self.relation in ('left of', 'above') else self.mirrored()

  @property
  def held_out(self) -> bool:
    """One in ten of the two-object scenes, whichever way they are told."""
    return self.second is not None and drawn.held_out(caption(self.forward))


def name(pair) -> str:
  """('orange', 'ring') -> 'an orange ring'."""
  colour, shape = pair
  return f'{"an" if colour == "orange" else "a"} {colour} {shape}'


def caption(scene: Scene) -> str:
  """The plain caption."""
  if scene.second is None:
    return name(scene.first)
  return f'{name(scene.first)} {scene.relation} {name(scene.second)}'


def paraphrases(scene: Scene) -> list[str]:
  """Other ways to say it; those of the last two name the second object first."""
  if scene.second is None:
    colour, shape = scene.first
    return [f'a picture of {name(scene.first)}', f'one {colour} {shape}',
            f'{name(scene.first)} on its own', f'a {shape} that is {colour}']
  a, b = name(scene.first), name(scene.second)
  side = {'left of': 'to the left of', 'right of': 'to the right of',
          'above': 'on top of', 'below': 'underneath'}[scene.relation]
  return [f'{a} {side} {b}', f'a picture of {a} {scene.relation} {b}',
          f'{scene.relation} {b}, {a}', f'{side} {b} there is {a}']


def scenes(objects=OBJECTS, count: int | None = None) -> list[Scene]:
  """Every scene of one (count 1), two (count 2) or either number of `objects`."""
  found = [] if count == 2 else [Scene(pair) for pair in objects]
  if count != 1:
    found += [Scene(a, relation, b) for a in objects for b in objects if a != b
              for relation in OPPOSITE]
  return found


def outline(shape: str, x: float, y: float, r: float) -> list[tuple[float, float]]:
  """Corners of a shape that has corners, within `r` of its centre (y grows down)."""
  def turn(angles_and_radii):
    return [(x + q * math.sin(a), y - q * math.cos(a)) for a, q in angles_and_radii]
  if shape == 'square':
    h = 0.82 * r
    return [(x - h, y - h), (x + h, y - h), (x + h, y + h), (x - h, y + h)]
  if shape == 'triangle':
    return turn([(2 * math.pi * i / 3, r) for i in range(3)])
  if shape == 'star':
    return turn([(math.pi * i / 5, r if i % 2 == 0 else 0.45 * r) for i in range(10)])
  k = 0.32 * r  # cross
  return [(x - k, y - r), (x + k, y - r), (x + k, y - k), (x + r, y - k),
          (x + r, y + k), (x + k, y + k), (x + k, y + r), (x - k, y + r),
          (x - k, y + k), (x - r, y + k), (x - r, y - k), (x - k, y - k)]


def place(scene: Scene, rng, size=(32, 32)) -> list[tuple[float, float, float]]:
  """Draws (x, y, r), in units, of each object on a canvas of `size`, (h, w)."""
  ends = UNITS * np.array(size[::-1]) / min(size)  # [2], of x and y
  if scene.second is None:
    r = rng.uniform(5, 10)
    return [(*rng.uniform(r, ends - r, 2), r)]
  told = scene.forward
  along = int(told.relation == 'above')  # 0: x, 1: y
  while True:
    r = rng.uniform(5, 7.5, 2)
    centres = rng.uniform(r[:, None], ends - r[:, None], (2, 2))
    gap = centres[1] - centres[0]
    apart = np.hypot(*gap) >= r.sum() + GAP
    if apart and gap[along] > 1.2 * abs(gap[1 - along]):
      spots = [(*centres[i], r[i]) for i in range(2)]
      return spots if told is scene else spots[::-1]


def stamp(pen, shape: str, x: float, y: float, r: float, fill, canvas):
  """Draws one shape; x, y and r are in units."""
  x, y, r = (v * DRAWN / UNITS for v in (x, y, r))
  if shape in ('circle', 'ring'):
    pen.ellipse((x - r, y - r, x + r, y + r), fill=fill)
    if shape == 'ring':
      pen.ellipse((x - r / 2, y - r / 2, x + r / 2, y + r / 2), fill=canvas)
  else:
    # Pillow fills the pixels of the rim too: half a pixel off brings the area right.
    pen.polygon(outline(shape, x - 0.5, y - 0.5, r - 0.5), fill=fill)


def draw(scene: Scene, rng, size=(32, 32)) -> np.ndarray:
  """Draws a scene at a random place. Returns uint8 [h w 3] of `size`, (h, w)."""
  return paint(scene.objects, place(scene, rng, size), size)


def paint(objects, spots, size) -> np.ndarray:
  """Objects (colour, shape), each at a spot (x, y, r) in units: uint8 [h w 3]."""
  factor = DRAWN // min(size)
  image = Image.new('RGB', (factor * size[1], factor * size[0]), CANVAS)
  pen = ImageDraw.Draw(image)
  for (colour, shape), spot in zip(objects, spots, strict=True):
    stamp(pen, shape, *spot, COLOURS[colour], CANVAS)
  return np.asarray(image.reduce(factor))


def opacity(shape: str, x: float, y: float, r: float, size=(32, 32)) -> np.ndarray:
  """How much of each pixel a shape covers, float32 [h w] in [0, 1].

  x, y, r: centre and radius, in units, of which 32 are the shorter side of `size`.
  """
  factor = DRAWN // min(size)
  image = Image.new('L', (factor * size[1], factor * size[0]), 0)
  stamp(ImageDraw.Draw(image), shape, x, y, r, 255, 0)
  return np.asarray(image.reduce(factor), np.float32) / 255


def example(split: str, index: int, size, single_share: float = 0.15) -> dict:
  """Picture `index` of a split: {'image': uint8 [h w 3], 'caption': str}.

  single_share: share of the pictures of `train` that show one object.
  """
  train = split == 'train'
  rng = np.random.default_rng((list(SPLITS).index(split), index))
  choices = ONE_OBJECT if train and rng.random() < single_share else SPLITS[split]
  scene = choices[rng.integers(len(choices))]
  if train and scene.second is not None:
    scene = scene.forward if rng.random() < FORWARD else scene.forward.mirrored()
  text = caption(scene)
  if train and rng.random() < PARAPHRASES:
    text = rng.choice(paraphrases(scene))
  return {'image': draw(scene, rng, size), 'caption': str(text)}


ONE_OBJECT = tuple(scenes(SEEN_OBJECTS, 1))
SPLITS = {
    'train': tuple(s for s in scenes(SEEN_OBJECTS, 2) if not s.held_out),
    'test': tuple(s for s in scenes(SEEN_OBJECTS, 2) if s.held_out),
    'test_pairs': tuple(s for s in scenes() if s.unseen)}


@dataclasses.dataclass
class WorldConfig(tfds.core.BuilderConfig):
  size: int | tuple[int, int] = 32  # pixels, or height and width
  train: int = 60_000    # pictures
  test: int = 1_024      # pictures, each of every other split

  def __post_init__(self):
    given, self.size = self.size, images.height_width(self.size)
    if min(self.size) < 8 or DRAWN % min(self.size):
      raise refused('size', given, '; shapes are drawn at 8, 16, 32, 64, 128 or 256 '
                    'pixels along the shorter side.')


@dataclasses.dataclass
class ShapesConfig(WorldConfig):
  single_share: float = 0.15  # of the training pictures: they show one object


class Shapes(drawn.Drawn):
  """The pictures of a ShapesConfig."""
  VERSION = tfds.core.Version('1.1.0')
  SPLITS = ('train', 'test', 'test_pairs')

  @staticmethod
  def config(c, name):
    if (c.pictures, c.single_share) != (ShapesConfig.train, ShapesConfig.single_share):
      name += f'_{c.pictures}_{c.single_share:g}'
    return ShapesConfig(name=name, size=c.size, train=c.pictures,
                        single_share=c.single_share)

  def examples(self, split):
    c = self.builder_config
    return ((i, example(split, i, c.size, c.single_share))
            for i in range(c.train if split == 'train' else c.test))
