"""A public pipeline's text encoders as `condition` of a config."""
import os

from interop.part import Part


def clip(folder: str, name: str, **only) -> Part:
  """The file of a CLIP; raises ValueError for one that is not as ours."""
  part = Part(folder, name, 'config.json')
  width = part.get('hidden_size')
  part.only(max_position_embeddings=77, intermediate_size=4 * width, **only)
  return part


def pad_of(folder: str, name: str) -> int:
  """The id that a CLIP tokenizer puts after the end."""
  found = Part(folder, name, 'tokenizer_config.json')
  old = os.path.join(folder, name, 'special_tokens_map.json')
  if os.path.exists(old) and 'added_tokens_decoder' not in found.fields:
    found = Part(old)
  pad = found.get('pad_token', '<|endoftext|>')
  pad = pad['content'] if isinstance(pad, dict) else pad
  vocab = os.path.join(folder, name, 'vocab.json')
  if os.path.exists(vocab):
    return Part(vocab).get(pad)
  return Part(folder, name, 'tokenizer.json').get('model')['vocab'][pad]


def two_clips(folder: str) -> dict:
  """Fields that the conditions of Stable Diffusion XL and 3 share."""
  first = clip(folder, 'text_encoder', hidden_act='quick_gelu')
  second = clip(folder, 'text_encoder_2', hidden_act='gelu',
                vocab_size=first.get('vocab_size'))
  both = dict(widths='hidden_size', depths='num_hidden_layers',
              heads='num_attention_heads')
  return dict(vocab=first.get('vocab_size')) | {
      name: (first.get(key), second.get(key)) for name, key in both.items()}


def t5(folder: str, name: str) -> dict:
  """Fields of T5."""
  part = Part(folder, name, 'config.json')
  part.only(feed_forward_proj='gated-gelu', relative_attention_num_buckets=32,
            relative_attention_max_distance=128)
  return part.read(vocab='vocab_size', width='d_model', depth='num_layers',
                   heads='num_heads', head_width='d_kv', hidden='d_ff')
