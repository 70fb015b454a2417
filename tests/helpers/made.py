"""Small captioned pictures in every layout that a source reads, made by the tests."""
import io
import json
import tarfile

from PIL import Image
import pyarrow as pa
import pyarrow.parquet as pq

from configs import base


def config(tmp_path, **keys):
  """A config's `data` of 16 pixels."""
  c = base.get_config().data
  c.update(dict(dir=str(tmp_path / 'cache'), size=16) | keys)
  return c


def colour(i: int) -> tuple[int, int, int]:
  """A colour that tells pictures apart, for i < 4096."""
  return i % 16 * 16, i // 16 % 16 * 16, i // 256 * 16


def number(image) -> int:
  """Back from the colour of a picture, uint8 [h w 3]."""
  r, g, b = (int(x) // 16 for x in image[0, 0])
  return r + 16 * g + 256 * b


def encoded(i: int, size=(24, 16), kind='PNG', **options) -> bytes:
  """A plain picture of colour(i)."""
  data = io.BytesIO()
  Image.new('RGB', size, colour(i)).save(data, kind, **options)
  return data.getvalue()


def caption(i: int) -> str:
  return f'picture {i} – Übung 東京 👩🏿‍🚀'


def folder(root, n: int):
  """PNGs in two levels with .txt sidecars."""
  for i in range(n):
    at = root / f'part{i % 3}' / f'{i:05}.png'
    at.parent.mkdir(parents=True, exist_ok=True)
    at.write_bytes(encoded(i))
    at.with_suffix('.txt').write_text(caption(i) + '\n', encoding='utf-8')
  return root


def tar(path, members):
  """members: (name or TarInfo, bytes)."""
  with tarfile.open(path, 'w') as out:
    for name, data in members:
      info = tarfile.TarInfo(name) if isinstance(name, str) else name
      info.size = len(data)
      out.addfile(info, io.BytesIO(data))
  return path


def shards(root, n: int, each: int):
  """Tars of `each` pictures as img2dataset writes them."""
  root.mkdir(parents=True, exist_ok=True)
  for first in range(0, n, each):
    members = []
    for i in range(first, min(n, first + each)):
      about = {'caption': caption(i), 'url': f'http://x/{i}.jpg', 'key': f'{i:09}'}
      members += [(f'{i:09}.png', encoded(i)),
                  (f'{i:09}.txt', caption(i).encode()),
                  (f'{i:09}.json', json.dumps(about).encode())]
    tar(root / f'{first // each:05}.tar', members)
  return root


def table(numbers, names=(), **columns) -> pa.Table:
  """As the Hugging Face hub keeps pictures, with these columns beside.

  names: of the classes that a column `label` of whole numbers stands for.
  """
  image = pa.struct([('bytes', pa.binary()), ('path', pa.string())])
  label = {'label': {'names': list(names), '_type': 'ClassLabel'}} if names else {}
  about = {'info': {'features': {'image': {'_type': 'Image'}} | label}}
  return pa.table({'image': pa.array(
      [{'bytes': encoded(i), 'path': f'{i}.png'} for i in numbers], image)} | columns
  ).replace_schema_metadata({'huggingface': json.dumps(about)})


def parquet(path, n: int, group: int = 4):
  """A file of the hub, with captions."""
  path.parent.mkdir(parents=True, exist_ok=True)
  captioned = table(range(n), text=pa.array([caption(i) for i in range(n)]))
  pq.write_table(captioned, path, row_group_size=group)
  return path


def saved_to_disk(root, tables, batch: int = 4):
  """What `save_to_disk` of the package datasets writes: a stream a table."""
  root.mkdir(parents=True)
  names = [f'data-{k:05}-of-{len(tables):05}.arrow' for k in range(len(tables))]
  for name, part in zip(names, tables):
    with pa.ipc.new_stream(str(root / name), part.schema) as out:
      out.write_table(part, batch)
  about = json.loads(tables[0].schema.metadata[b'huggingface'])['info']
  (root / 'dataset_info.json').write_text(json.dumps(about))
  (root / 'state.json').write_text(json.dumps(
      {'_data_files': [{'filename': name} for name in names], '_split': 'train'}))
  return root
