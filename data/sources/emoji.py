"""The emoji world: every picture of the Noto Color Emoji font, with its name.

About 3,800 pieces of real art that compose as language does: people by who they are,
what they do and the colour of their skin, families, flags, animals, things. A caption
is the short name that Unicode's CLDR gives the emoji, as in "woman astronaut: dark skin
tone" or "flag: Japan". `test` holds one in ten of the combinations of a person, an
activity and a skin tone: training shows each of the three, but never together.

The drawings come from the font on this machine (SIL Open Font License 1.1), the names
from the `emoji` package. Pictures differ a little between releases of the font.
"""
import dataclasses
import functools
import pathlib
import re

from PIL import features, Image, ImageDraw, ImageFont
import numpy as np
import tensorflow_datasets as tfds

from data import images
from data.problems import refused
from data.sources import drawn

BACKGROUND = (255, 255, 255)
FRAME = 144    # pixels of the square that a drawing, 128 at most, is centred in
STRIKE = 109   # the one pixel size of the font's bitmaps, which are 136 wide
WIDEST = 150   # pixels; a sequence that the font lacks is drawn as several emoji
UNKNOWN_FLAG = '\U0001f1ff\U0001f1ff'  # of no region: the font draws a question mark
FILE = 'NotoColorEmoji.ttf'
FOLDERS = ('/usr/share/fonts', '/usr/local/share/fonts', '~/.local/share/fonts',
           '~/.fonts', '/Library/Fonts', '~/Library/Fonts')

TONE = r'(?:medium|(?:medium-)?(?:light|dark)) skin tone'
HAIR = r'(?:bald|beard|(?:red|curly|white|blond) hair)$'
MEMBER = r'(?:woman|man|person|adult|child|girl|boy)\b'
COMBINATION = re.compile(
    rf'(woman|man|person) (?!and )(.+?)(?: facing right)?: ({TONE})')


@functools.cache
def captions() -> dict[str, str]:
  """The caption of each fully-qualified emoji: {'\\U0001f680': 'rocket', ...}."""
  import emoji  # slow to load, and only needed to build
  whole = emoji.STATUS['fully_qualified']
  return {sequence: caption(sequence, entry['en'])
          for sequence, entry in emoji.EMOJI_DATA.items() if entry['status'] == whole}


def caption(sequence: str, name: str) -> str:
  """Puts back the punctuation of the CLDR short name.

  ':man_medium_skin_tone_beard:' -> 'man: medium skin tone, beard'. What remains
  different: the apostrophe is the typewriter's, and Japanese "here" button has no
  quotation marks. name: that of the emoji `sequence` in the `emoji` package.
  """
  text = name.strip(':').replace('_', ' ').replace('’', "'")
  if '\U0001f1e6' <= sequence[0] <= '\U0001f1ff' or '\U000e007f' in sequence:
    return f'flag: {text}'  # two regional letters, or a region spelt in tags
  text = re.sub(rf' (?={TONE}|{HAIR})', ', ', text)
  if re.match('kiss|family|couple with heart', text):
    text = re.sub(rf' (?={MEMBER})', ', ', text)
  return re.sub('^keycap ', 'keycap, ', text).replace(', ', ': ', 1)


def combination(text: str) -> tuple[str, str, str] | None:
  """The (person, activity, skin tone) that a caption names, or None.

  'woman astronaut: dark skin tone' -> ('woman', 'astronaut', 'dark skin tone'). The
  same person "facing right", a mirror image, is the same combination.
  """
  found = COMBINATION.fullmatch(text)
  return found and found.groups()


def held_out(text: str) -> bool:
  """Whether a caption belongs to `test`: one in ten combinations."""
  parts = combination(text)
  return parts is not None and drawn.held_out(' '.join(parts))


def find_font() -> str:
  """The path of the font. Raises FileNotFoundError if no usual folder has it."""
  for folder in FOLDERS:
    for path in sorted(pathlib.Path(folder).expanduser().rglob(FILE)):
      return str(path)
  raise FileNotFoundError(f'{FILE} is in none of {", ".join(FOLDERS)}: apt-get install '
                          'fonts-noto-color-emoji, or give config.data.font=PATH.')


def load_font(path: str = '') -> ImageFont.FreeTypeFont:
  """Opens the font at `path`, or the one that `find_font` finds.

  Raises OSError where there is none, it is not the bitmap font, or Pillow cannot join
  sequences.
  """
  if not features.check('raqm'):
    raise OSError('This Pillow has no RAQM, which joins emoji sequences: '
                  'pip install --force-reinstall pillow, or apt-get install libraqm0.')
  if path and not pathlib.Path(path).is_file():
    raise FileNotFoundError(f'config.data.font is {path!r}, which is not a file; '
                            f'give the path of {FILE}.')
  path = path or find_font()
  try:
    font = ImageFont.truetype(path, STRIKE, layout_engine=ImageFont.Layout.RAQM)
    face = draw('\U0001f600', font)
  except OSError as error:
    raise OSError(f'{path} does not open as {FILE} ({error}).') from error
  if face is None or np.ptp(face, axis=-1).max() < 64:  # nothing, or only greys
    raise OSError(f'{path} has no colour bitmaps; give config.data.font=PATH of the '
                  f'{FILE} of fonts-noto-color-emoji (not COLRv1).')
  return font


def draw(sequence: str, font, size: int = FRAME) -> np.ndarray | None:
  """An emoji in the middle of a plain square, uint8 [size size 3].

  None if the font does not have it.
  """
  if font.getlength(sequence) > WIDEST:
    return None
  # Transparent, yet of the background's colour: blending gives the final colours in
  # RGB, and where the ink is in alpha.
  image = Image.new('RGBA', (2 * FRAME, 2 * FRAME), (*BACKGROUND, 0))
  pen = ImageDraw.Draw(image)
  pen.text((FRAME // 2, FRAME // 2), sequence, font=font, embedded_color=True)
  box = image.getchannel('A').getbbox()
  if box is None:
    return None
  ink = image.crop(box).convert('RGB')
  frame = Image.new('RGB', (FRAME, FRAME), BACKGROUND)
  frame.paste(ink, ((FRAME - ink.width) // 2, (FRAME - ink.height) // 2))
  return np.asarray(frame.resize((size, size), Image.Resampling.LANCZOS))


def example(sequence: str, font, size: int) -> dict | None:
  """{'image': uint8 [size size 3], 'caption': str}; None if the font lacks it."""
  image, text = draw(sequence, font, size), captions()[sequence]
  unknown = text.startswith('flag: ') and np.array_equal(
      image, draw(UNKNOWN_FLAG, font, size))
  return None if image is None or unknown else {'image': image, 'caption': text}


@dataclasses.dataclass
class EmojiConfig(tfds.core.BuilderConfig):
  """Raises ValueError for a size out of range."""
  size: int = 64   # pixels of the square, 8 to 128
  font: str = ''   # path of NotoColorEmoji.ttf; '' looks in FOLDERS

  def __post_init__(self):
    h, w = images.height_width(self.size)
    if h != w or not 8 <= h <= 128:
      raise refused('size', self.size, '; emoji are squares of 8 to 128 pixels.')
    self.size = h


class Emoji(drawn.Drawn):
  """Any size, so no list of named configs: Emoji(config=EmojiConfig(name='64'))."""
  VERSION = tfds.core.Version('1.0.0')
  SPLITS = ('train', 'test')

  @staticmethod
  def config(c, name):
    return EmojiConfig(name=name, size=c.size, font=c.font)

  def examples(self, split):
    c = self.builder_config
    font = load_font(c.font)
    return ((sequence, example(sequence, font, c.size))
            for sequence, text in captions().items()
            if held_out(text) == (split == 'test'))
