"""The emoji source: captions against Unicode's own list, the held-out law, pictures."""
import numpy as np
from PIL import Image, ImageDraw
import pytest

from data.sources import emoji

CLDR = {  # code points and short names as in emoji-test.txt, version 15.0
    '1F600': 'grinning face',
    '2764 FE0F': 'red heart',
    '1F680': 'rocket',
    '1F469 1F3FF 200D 1F680': 'woman astronaut: dark skin tone',
    '1F9D1 1F3FC 200D 2695 FE0F': 'health worker: medium-light skin tone',
    '1F6B4 1F3FE 200D 2642 FE0F': 'man biking: medium-dark skin tone',
    '1F44B 1F3FD': 'waving hand: medium skin tone',
    '1F468 1F3FD 200D 1F9B0': 'man: medium skin tone, red hair',
    '1F469 200D 1F9B2': 'woman: bald',
    '1F9D4 1F3FB 200D 2642 FE0F': 'man: light skin tone, beard',
    '1F468 1F3FB 200D 2764 FE0F 200D 1F48B 200D 1F468 1F3FD':
        'kiss: man, man, light skin tone, medium skin tone',
    '1F469 200D 2764 FE0F 200D 1F468': 'couple with heart: woman, man',
    '1F491 1F3FF': 'couple with heart: dark skin tone',
    '1F48B': 'kiss mark',
    '1F468 200D 1F469 200D 1F467 200D 1F466': 'family: man, woman, girl, boy',
    '1FAF1 1F3FB 200D 1FAF2 1F3FF': 'handshake: light skin tone, dark skin tone',
    '1F46B 1F3FF': 'woman and man holding hands: dark skin tone',
    '1F1EF 1F1F5': 'flag: Japan',
    '1F3F4 E0067 E0062 E0065 E006E E0067 E007F': 'flag: England',
    '1F3F4 200D 2620 FE0F': 'pirate flag',
    '0023 FE0F 20E3': 'keycap: #',
    '1F51F': 'keycap: 10',
    '1F385 1F3FB': 'Santa Claus: light skin tone',
    '1F9D1 1F3FF 200D 1F33E': 'farmer: dark skin tone',
}
PICTURES = [  # twenty that any release of the font has
    '1F600', '2764 FE0F', '1F680', '1F469 1F3FF 200D 1F680', '1F469 1F3FB 200D 1F680',
    '1F468 1F3FF 200D 1F680', '1F6B4 1F3FE 200D 2642 FE0F', '1F44B 1F3FD',
    '1F468 1F3FD 200D 1F9B0', '1F469 200D 1F9B2', '1F491 1F3FF', '1F48B',
    '1F46B 1F3FF', '1F1EF 1F1F5', '1F1EB 1F1F7', '0023 FE0F 20E3', '1F51F',
    '1F385 1F3FB', '2B1C', '1F3F3 FE0F 200D 1F308',
]


def spelt(code_points: str) -> str:
  return ''.join(chr(int(point, 16)) for point in code_points.split())


def has_font() -> bool:
  try:
    emoji.load_font()
  except OSError:
    return False
  return True


needs_font = pytest.mark.skipif(not has_font(), reason='NotoColorEmoji.ttf is missing')


@pytest.fixture(scope='module')
def font():
  return emoji.load_font()


@pytest.mark.parametrize('code_points', CLDR)
def test_captions_are_the_short_names_of_unicode(code_points):
  assert emoji.captions()[spelt(code_points)] == CLDR[code_points]


def test_captions_are_distinct_and_fully_qualified():
  captions = emoji.captions()
  assert len(captions) > 3600
  assert len(set(captions.values())) == len(captions)
  assert spelt('2764') not in captions  # a red heart without its FE0F


def test_a_combination_is_a_person_an_activity_and_a_skin_tone():
  parts = ('woman', 'running', 'medium-dark skin tone')
  assert emoji.combination('woman running: medium-dark skin tone') == parts
  assert emoji.combination('woman running facing right: medium-dark skin tone') == parts
  for other in ('woman running', 'astronaut: dark skin tone', 'waving hand',
                'man: dark skin tone, beard', 'kiss: man, man, dark skin tone',
                'woman and man holding hands: dark skin tone'):
    assert emoji.combination(other) is None
    assert not emoji.held_out(other)


def test_held_out_parts_are_seen_in_training_but_never_together():
  sides = {False: set(), True: set()}
  for text in emoji.captions().values():
    if parts := emoji.combination(text):
      sides[emoji.held_out(text)].add(parts)
  train, test = sides[False], sides[True]
  assert 0.08 < len(test) / len(train | test) < 0.12
  assert not train & test
  for part in range(3):
    assert {parts[part] for parts in test} <= {parts[part] for parts in train}
  # A person at an activity is known in another skin tone.
  assert {parts[:2] for parts in test} <= {parts[:2] for parts in train}


def test_a_missing_font_is_one_line_that_says_what_to_install(tmp_path, monkeypatch):
  monkeypatch.setattr(emoji, 'FOLDERS', (str(tmp_path),))
  with pytest.raises(FileNotFoundError) as error:
    emoji.find_font()
  text = str(error.value)
  assert '\n' not in text
  for word in ('NotoColorEmoji.ttf', str(tmp_path), 'config.data.font',
               'apt-get install fonts-noto-color-emoji'):
    assert word in text


def test_find_font_looks_into_folders(tmp_path, monkeypatch):
  path = tmp_path / 'truetype' / 'noto' / 'NotoColorEmoji.ttf'
  path.parent.mkdir(parents=True)
  path.touch()
  monkeypatch.setattr(emoji, 'FOLDERS', (str(tmp_path / 'none'), str(tmp_path)))
  assert emoji.find_font() == str(path)


def test_a_wrong_font_is_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(emoji.features, 'check', lambda name: True)
  with pytest.raises(FileNotFoundError, match='config.data.font'):
    emoji.load_font(str(tmp_path / 'none.ttf'))
  (tmp_path / 'text.ttf').write_text('not a font')
  with pytest.raises(OSError, match='text.ttf'):
    emoji.load_font(str(tmp_path / 'text.ttf'))


def test_a_pillow_without_raqm_is_refused(monkeypatch):
  monkeypatch.setattr(emoji.features, 'check', lambda name: False)
  with pytest.raises(OSError, match='RAQM'):
    emoji.load_font()


@pytest.mark.parametrize('size, expected', [
    (0, 'above 0'), (7, 'squares of 8 to 128'), (129, 'squares of 8 to 128'),
    ((64, 32), 'squares of 8 to 128')])
def test_size_out_of_range_is_refused(size, expected):
  with pytest.raises(ValueError) as error:
    emoji.EmojiConfig(name='x', size=size)
  assert f'config.data.size is {size}' in str(error.value)
  assert expected in str(error.value)


@needs_font
@pytest.mark.parametrize('size', [8, 64, 128])
def test_pictures_are_whole_distinct_and_repeatable(font, size):
  seen = set()
  for code_points in PICTURES:
    item = emoji.example(spelt(code_points), font, size)
    image = item['image']
    assert image.shape == (size, size, 3) and image.dtype == np.uint8
    assert image.std() > 5, item['caption']  # not blank
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    if size > 8:  # where the margin is less than a pixel
      assert (border >= 250).all(), item['caption']  # whole, in the frame
    again = emoji.example(spelt(code_points), font, size)
    np.testing.assert_array_equal(image, again['image'])
    seen.add(image.tobytes())
  assert len(seen) == len(PICTURES)


@needs_font
def test_edges_blend_with_the_background(font):
  """The drawing equals one made straight on the background: no dark fringe."""
  sequence = spelt('1F600')
  plain = Image.new('RGB', (2 * emoji.FRAME, 2 * emoji.FRAME), emoji.BACKGROUND)
  ImageDraw.Draw(plain).text((72, 72), sequence, font=font, embedded_color=True)
  dark = np.asarray(plain).min(-1) < 255
  rows, columns = np.where(dark.any(1))[0], np.where(dark.any(0))[0]
  expected = np.asarray(plain)[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
  image = emoji.draw(sequence, font)
  dark = image.min(-1) < 255
  rows, columns = np.where(dark.any(1))[0], np.where(dark.any(0))[0]
  found = image[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
  np.testing.assert_allclose(found.astype(int), expected, atol=1)


@needs_font
def test_what_the_font_lacks_is_left_out(font):
  assert emoji.draw(spelt('1F680 200D 1F680'), font) is None  # drawn as two rockets
  assert emoji.draw('\U0010ffff', font) is None               # no such glyph


@needs_font
def test_the_flag_of_an_unknown_region_is_left_out(font, monkeypatch):
  nowhere, japan = spelt('1F1FE 1F1FE'), spelt('1F1EF 1F1F5')
  monkeypatch.setattr(emoji, 'captions', lambda: {
      nowhere: 'flag: Nowhere', japan: 'flag: Japan'})
  assert emoji.example(nowhere, font, 32) is None
  assert emoji.example(japan, font, 32) is not None


@needs_font
def test_builds_and_reads_back(tmp_path, monkeypatch):
  captions = emoji.captions()
  few = [spelt(code_points) for code_points in PICTURES]
  few += [s for s, text in captions.items() if emoji.held_out(text)][:3]
  monkeypatch.setattr(emoji, 'captions', lambda: {s: captions[s] for s in few})
  builder = emoji.Emoji(config=emoji.EmojiConfig(name='16', size=16),
                        data_dir=tmp_path, file_format='array_record')
  builder.download_and_prepare()
  train, test = builder.as_data_source(['train', 'test'])
  assert len(train) + len(test) == len(few)
  for item in test:
    assert item['image'].shape == (16, 16, 3)
    assert emoji.held_out(item['caption'].decode())
  assert not any(emoji.held_out(item['caption'].decode()) for item in train)
