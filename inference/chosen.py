"""The model that a command's flags name: those of console.options.define_model."""
from inference import adapters, learned_tokens, loading
from inference.loading import Model


def config_of(flag, note):
  """The config of a model, before its weights are read. Raises ValueError for none, or
  two, and for flags that are not for it. note: of loading.pipeline_config."""
  if flag.weights and flag.workdir:
    raise ValueError('--workdir and --weights are two models; give one of them.')
  for name in ('variant', 'dtype', 'base'):
    if flag[name].value and not flag.weights:
      raise ValueError(f'--{name} is for --weights.')
  if flag.weights:
    return loading.pipeline_config(flag.weights, note, flag.variant, flag.dtype,
                                   flag.base)
  return loading.config_of(flag.workdir)


def load(flag, c) -> Model:
  """The model of a config of `config_of`, with its learned tokens and adapters."""
  model = loading.load(flag.weights or flag.workdir, config=c, variant=flag.variant)
  model = learned_tokens.add_tokens(model, *flag.embedding)
  return adapters.add_adapters(model, *flag.lora)
