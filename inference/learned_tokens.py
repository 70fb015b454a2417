"""Tokens that were learned by textual inversion: into a model, and out of one."""
import jax
import jax.numpy as jnp
import numpy as np

from data import tokenizers
from inference.loading import Model
import models


def tables_of(params) -> dict[str, dict]:
  """{part of the text encoder, '' for itself: its table and learned rows}."""
  encoder = params['text_encoder']
  if 'embed' in encoder:
    return {'': encoder['embed']}
  return {name: part['embed'] for name, part in encoder.items()
          if isinstance(part, dict) and 'embed' in part}


def with_tables(params, tables: dict[str, dict]):
  """Parameters with those tables in the place of `tables_of`."""
  encoder = params['text_encoder']
  if '' in tables:
    return params | {'text_encoder': encoder | {'embed': tables['']}}
  return params | {'text_encoder': encoder | {
      name: encoder[name] | {'embed': table} for name, table in tables.items()}}


def add_tokens(model: Model, *files: str) -> Model:
  """A model that knows the tokens of embedding files; prompts have them as words.

  Raises:
    ValueError, OSError: there is no such file, it is for another text encoder, or the
      tokenizer knows such a word.
  """
  if not files:
    return model
  from interop import embeddings
  c = model.config.copy_and_resolve_references()
  tables = tables_of(model.params)
  widths = {name: table['embedding'].shape[1] for name, table in tables.items()}
  for path in files:
    for token, rows in embeddings.read(path, widths).items():
      if token in [name for name, _, _ in c.tokenizer.added]:
        raise ValueError(f'--embedding={path} has {token!r}, which this model has '
                         'learned already.')
      c.tokenizer.added += ((token, '', len(next(iter(rows.values())))),)
      tables = {name: table | {'new': jnp.concatenate([
          *([table['new']] if 'new' in table else []), rows[name]])}
          for name, table in tables.items()}
  tokenizer = tokenizers.add(tokenizers.from_str(model.tokenizer.to_str()),
                             c.tokenizer.added)
  module = models.build(c, tokenizer.get_vocab_size())
  return model.replace(config=c, tokenizer=tokenizer, module=module, programs={},
                       params=with_tables(model.params, tables))


def save_tokens(model: Model, path: str):
  """Writes the learned tokens of a model: interop.embeddings.save.

  Raises ValueError for a model that has learned none.
  """
  from interop import embeddings
  if not (added := model.config.tokenizer.added):
    raise ValueError('this run has learned no tokens: its config.tokenizer.added is '
                     'empty.')
  ends = np.cumsum([vectors for _, _, vectors in added])
  rows = {name: jax.device_get(table['new'])
          for name, table in tables_of(model.params).items()}
  embeddings.save(path, {token: {name: table[end - vectors:end]
                                 for name, table in rows.items()}
                         for (token, _, vectors), end in zip(added, ends)})
