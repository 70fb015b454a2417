"""Names on the Hugging Face hub, from a cache that is already there."""
import pytest

from inference import hub, loading

FILES = ['model_index.json', 'unet/config.json', 'sd15.safetensors',
         'unet/diffusion_pytorch_model.safetensors',
         'unet/diffusion_pytorch_model.fp16.safetensors',
         'unet/diffusion_pytorch_model.bin', 'vae/a/b.safetensors',
         'text/model-00001-of-00002.safetensors',
         'text/model-00002-of-00002.safetensors',
         'text/model.fp16-00001-of-00001.safetensors',
         'vae/diffusion_pytorch_model.safetensors', 'safety/model.fp16.safetensors']


@pytest.mark.parametrize('variant, wanted', [
    (None, [3, 7, 8, 10, 11]), ('fp16', [4, 9, 10, 11])])
def test_the_weights_of_one_variant_are_asked_for(variant, wanted):
  assert sorted(hub.weight_files(FILES, variant)) == sorted(FILES[i] for i in wanted)


def test_a_folder_is_itself_and_so_is_what_is_no_name(tmp_path):
  for place in (str(tmp_path), './a/b', '/a/b', 'a/b/c', 'name', '~/a'):
    assert not hub.is_name(place) and hub.folder_of(place) == place
  assert hub.is_name('stabilityai/stable-diffusion-xl-base-1.0')


@pytest.fixture
def offline(tmp_path, monkeypatch):
  """A cache of the hub with a/b, and no way to it."""
  constants = pytest.importorskip('huggingface_hub.constants')
  monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
  monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path))
  folder = tmp_path / 'models--a--b'
  (folder / 'refs').mkdir(parents=True)
  (folder / 'refs' / 'main').write_text('0' * 40)
  snapshot = folder / 'snapshots' / ('0' * 40)
  snapshot.mkdir(parents=True)
  (snapshot / 'model_index.json').write_text('{"_class_name": "OtherPipeline"}')
  return snapshot


def test_the_cache_of_the_hub_is_read_offline(offline):
  assert hub.folder_of('a/b') == str(offline)
  with pytest.raises(ValueError, match='OtherPipeline'):
    loading.pipeline_config('a/b')
  with pytest.raises(ValueError, match='a/c is no folder here, and the Hugging Face'):
    loading.pipeline_config('a/c')
