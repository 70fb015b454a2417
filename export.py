r"""Takes the averaged weights of a run into a small workdir, to keep or to publish.

python export.py --workdir=runs/shapes --out=weights/shapes --dtype=float16

sample.py and evaluate.py draw from the result as from the run itself. --ema=0.07 makes
the average of that width from those that the run stored: config.train.averages_every.
--best takes that of the best step by config.eval.best.
Adapters of a run become part of the weights; --lora=NAME.safetensors writes them alone,
in the --layout of PEFT and diffusers or of kohya and ComfyUI, or in our own;
--embedding=NAME.safetensors writes learned tokens as diffusers does.
--format=diffusers makes a pipeline that diffusers loads, with a page about it; the
scheduler is that of config.sample, or of --solver and --sample.timesteps.
"""
import os
import shutil

from absl import flags

from configs import base
from console import command, options
from console.errors import UserError, user_errors
from console.files import atomic_write, check_new_file
from inference import adapters, learned_tokens, load, model_card, pipeline_export
from inference.averages import best_ema, posthoc_ema
from training import param_files, workdir as workdirs


def define_flags():
  flags.DEFINE_string('workdir', None, 'Folder of the run.')
  flags.DEFINE_string('out', None, 'Folder to make.')
  flags.DEFINE_float('ema', None, 'Relative width of an average to make, up to 0.288.')
  flags.DEFINE_bool('best', False, 'The best step by config.eval.best, not the last.')
  flags.DEFINE_enum('format', 'ours', ['ours', 'diffusers'], 'What --out is: a '
                    'workdir, or a pipeline.')
  flags.DEFINE_enum('dtype', 'float16', sorted(param_files.DTYPES),
                    'Number format of the stored weights.')
  flags.DEFINE_string('lora', None, 'NAME.safetensors: where the adapters go, in place '
                      'of --out.')
  flags.DEFINE_string('embedding', None, 'NAME.safetensors: where learned tokens go, '
                      'in place of --out.')
  flags.DEFINE_enum('layout', 'ours', ['ours', 'peft', 'kohya'], 'Layout of --lora.')
  options.define_sample()


def without_adapters(c):
  """The config of a model whose adapters have become part of its weights."""
  c = c.copy_and_resolve_references()
  c.lora = base.get_config().lora
  return c


def export_alone(flag, name: str):
  """Writes what a run learned beside frozen weights: its adapters, or its tokens."""
  path = flag[name].value
  if (flag.out or flag.ema or flag.best or flag['dtype'].present
      or flag.lora and flag.embedding):
    raise UserError(f'--{name} writes these alone, in float32: it takes no --out, no '
                    '--ema, no --best, no --dtype, and one file at a time.')
  with user_errors():
    check_new_file(path, name, '.safetensors')
    c = workdirs.load_config(flag.workdir)
    with atomic_write(path) as new:
      if name == 'lora':
        adapters.save_adapters(flag.workdir, c, new, flag.layout)
      else:
        learned_tokens.save_tokens(load(flag.workdir, config=c), new)
  print(f'{path}: {os.path.getsize(path) / 1e6:.3g} MB')


def export_pipeline(flag, model):
  """Writes a pipeline of diffusers: all of it, or nothing."""
  out = flag.out.rstrip('/')
  new = f'{out}.{os.getpid()}.new'
  if os.path.exists(out):
    raise UserError(f'--out={flag.out} is there already; give a new name.')
  try:
    os.makedirs(new)
    kind = pipeline_export.export(model, new, flag.dtype)
    model_card.write(model, new, out, flag.workdir, kind)
    os.rename(new, out)
  finally:
    shutil.rmtree(new, ignore_errors=True)
  print(f'{out}: a {kind}')


def main(flag):
  for name in ('lora', 'embedding'):
    if flag[name].value:
      return export_alone(flag, name)
  if flag['layout'].present:
    raise UserError('--layout is for --lora.')
  if not flag.out:
    raise UserError('--out=FOLDER is needed.')
  if os.path.exists(os.path.join(flag.out, 'checkpoints')):
    raise UserError(f'--out={flag.out} is the workdir of a run; give another folder.')
  if os.path.abspath(flag.out) == os.path.abspath(flag.workdir or ''):
    raise UserError(f'--out={flag.out} is --workdir; give another folder.')
  if flag.best and flag.ema:
    raise UserError('--best and --ema are two averages; give one of them.')
  with user_errors():
    c = workdirs.load_config(flag.workdir)
    options.resolve_sample(c, flag)
    model = load(flag.workdir, config=c)
    if flag.ema:
      model = posthoc_ema(model, flag.workdir, flag.ema)
    if flag.best:
      model = best_ema(model, flag.workdir)
    if flag.format == 'diffusers':
      return export_pipeline(flag, model)
    os.makedirs(flag.out, exist_ok=True)
  workdirs.save_config(flag.out, without_adapters(model.config))
  shutil.copy(workdirs.tokenizer_path(flag.workdir), flag.out)
  path = os.path.join(flag.out, param_files.FILE)
  with atomic_write(path) as new:
    param_files.save(new, model.params, flag.dtype, {
        'source': model.source, 'modules': param_files.modules_of(model.config)})
  print(f'{path}: {os.path.getsize(path) / 1e6:.1f} MB')


if __name__ == '__main__':
  command.run(main, define_flags)
