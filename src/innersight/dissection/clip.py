"""CLIP models of transformers as encoders of images and words; from a folder, never from the net."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image as PILImage
from torch import Tensor

from innersight.dissection.words import Encode
from innersight.errors import InnersightError, MissingExtraError, printable

# What CLIP was trained with says "a photo of"; its labels depend on the words, "picture" included.
PROMPT = "a picture of {}"
AT_ONCE = 64


def clip_encoder(folder: str | Path, *, prompt: str = PROMPT, device: str | torch.device = "cpu") -> Encode:
    """Return the encoder of a CLIP model saved by transformers in a folder.

    Nothing is downloaded, and no code of the folder is run.

    Parameters
    ----------
    folder
        With weights (safetensors), tokenizer and image processor, as `save_pretrained` writes them; SigLIP and similar
        models work too.
    prompt
        What a word is put in, in place of {}.
    device
        Where the model runs.

    Returns
    -------
    Callable
        From a list of n PIL images, or of n texts, to embeddings (n, d); the `encode` of `label`.

    Raises
    ------
    InnersightError
        For a folder without such a model.
    MissingExtraError
        Without transformers.

    Notes
    -----
    Radford et al. 2021 (arXiv:2103.00020).

    Examples
    --------
    >>> from innersight.dissection import clip_encoder
    >>> clip_encoder("no-such-folder")
    Traceback (most recent call last):
    innersight.errors.InnersightError: clip='no-such-folder': no folder with a config.json; ...

    """
    shown = printable(folder)
    if not os.path.isfile(Path(folder) / "config.json"):
        raise InnersightError(
            f"clip={shown!r}: no folder with a config.json; save a CLIP model there with save_pretrained, model and "
            "processor both (nothing is downloaded)"
        )
    if "{}" not in prompt:
        raise InnersightError(f"prompt={prompt!r} does not say where the word goes; write one such as {PROMPT!r}")
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError("transformers", "hf") from error
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        model = transformers.AutoModel.from_pretrained(folder, use_safetensors=True, **options).eval().to(device)
        processor = transformers.AutoProcessor.from_pretrained(folder, **options)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise InnersightError(f"clip={shown!r}: cannot be opened as a CLIP model ({printable(error)})") from error
    if not (hasattr(model, "get_image_features") and hasattr(model, "get_text_features")):
        raise InnersightError(f"clip={shown!r}: {type(model).__name__} does not encode both images and texts")

    def encode(given: Sequence[PILImage.Image] | Sequence[str]) -> Tensor:
        parts = []
        for start in range(0, len(given), AT_ONCE):
            some = given[start : start + AT_ONCE]
            if isinstance(some[0], str):
                texts = [prompt.format(word) for word in some]
                # To full length: SigLIP was trained so, and without it a word would depend on those beside it.
                fed = processor(text=texts, return_tensors="pt", padding="max_length", truncation=True)
                found = model.get_text_features(**fed.to(device))
            else:
                fed = processor(images=list(some), return_tensors="pt")
                found = model.get_image_features(**fed.to(device))
            parts.append(found if isinstance(found, Tensor) else found.pooler_output)
        return torch.cat(parts)

    return encode
