r"""A playground in the browser: draws with a trained model while one looks on.

python play.py --workdir=weights/shapes
python play.py --weights=stable-diffusion-v1-5 --lora=style.safetensors:0.8

It prints the address of a page on this machine. There: a picture on its way out of
noise, image to image and inpainting with a brush, the way between two seeds, a grid of
guidance against steps; and for each picture the link and the command line that draw it
again. docs/play.md.
"""
import threading

from absl import flags

from console import command, options
from console.errors import UserError, user_errors
from inference import chosen
from inference.playground import Playground


def define_flags():
  options.define_model()
  flags.DEFINE_integer('port', 7860, 'Port of the page on this machine; 0 for any.', 0,
                       65535)


def load_model(flag):
  """The model that the flags name."""
  if bool(flag.weights) == bool(flag.workdir):
    raise UserError('a model is needed: --workdir=FOLDER or --weights=FOLDER, one of '
                    'them.')
  with user_errors():
    return chosen.load(flag, chosen.config_of(flag, command.note))


def place_of(flag) -> list[str]:
  """The flags that name the model, for command lines of sample.py."""
  values = {name: flag[name].value for name in options.MODEL if flag[name].value}
  return [f'--{name}={x}' for name, value in values.items()
          for x in (value if isinstance(value, list) else [value])]


def main(flag):
  model = load_model(flag)
  try:
    playground = Playground(model, place_of(flag), flag.port)
  except OSError as e:
    raise UserError(f'--port={flag.port}: {e.strerror}; give another.') from e
  threading.Thread(target=playground.warm_up, daemon=True).start()
  print(f'{playground.address} (Ctrl-C ends it)', flush=True)
  playground.serve()


if __name__ == '__main__':
  command.run(main, define_flags)
