r"""A folder of pictures with captions, at 64 pixels: the config to start from.

python train.py --config=configs/folder.py --workdir=runs/mine \
    --config.data.path=~/pictures

Each picture has a .txt of its name beside it, a caption a line, or the folder has a
metadata.jsonl or metadata.csv with `file_name` and `text` (docs/data.md).
"""
from configs import emoji


def get_config():
  c = emoji.get_config()
  c.data.update(dict(source='folder', path='pictures', size=64, crop='random'))
  c.tokenizer.update(dict(vocab=8_192, length=48))
  c.optim.name = 'adamw'
  c.sample.prompts = ('a photo of a cat', 'a bowl of fruit on a table',
                      'a street at night')
  return c
