"""Face-api's expression network with random weights, in the files that it is published in: it sees nothing."""

import json

import torch
from affectkit_plugins._tfjs_net import NAMES, ORDERS
from affectkit_plugins.encoders._face_api_net import DenseNet

NETWORK = "face_expression_model"


def tiny_face_api(folder, seed=0):
    """Write it; returns the folder."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    entries, data = [], b""
    for name, value in DenseNet(7).state_dict().items():
        *where, last = name.split(".")
        kernel = value.dim() == 4
        theirs = {"depthwise": "depthwise_filter", "bias": "bias"}.get(
            last, ("pointwise_filter" if value.shape[-1] == 1 else "filters") if kernel else "weights"
        )
        assert NAMES.get(theirs, theirs) == last
        order = ORDERS.get(theirs, tuple(range(value.dim())))
        back = value.permute([order.index(i) for i in range(value.dim())]).contiguous()
        entries.append({"name": "/".join([*where, theirs]), "shape": list(back.shape), "dtype": "float32"})
        data += back.numpy().astype("<f4").tobytes()
    (folder / f"{NETWORK}.bin").write_bytes(data)
    manifest = [{"paths": [f"{NETWORK}.bin"], "weights": entries}]
    (folder / f"{NETWORK}-weights_manifest.json").write_text(json.dumps(manifest))
    return folder
