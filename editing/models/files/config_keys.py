"""Keys of configurations: those that diffusers and transformers know, by the signatures
of their classes, and of those that are not honoured the values that change nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from inspect import signature

from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.files.schedulers import NEAREST
from regrain.editing.storage.texts import Content, Values

_OFF = (None, False)
PREDICTIONS = ("epsilon", "v_prediction", "sample")
"""What the network of a Stable Diffusion may output."""

Runnable = Mapping[str, tuple[object, ...]]
"""Of each key that is not honoured, the values that we can run; of a list, every entry
is one of them."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _off(text: str) -> Runnable:
    return dict.fromkeys(text.split(), _OFF)


# What trainers and older programs write beside them: averages of weights, the side of
# pictures where the network does not ask for it, and levels of a motion adapter's model.
_BESIDE = _words(
    "decay inv_gamma min_decay optimization_step power update_after_step "
    "use_ema_warmup tensor_format sample_size beta_schedule"
)
# Of keys of older versions, and of what is returned, the values that change nothing.
_OLD: Runnable = {
    "predict_epsilon": (None, True),
    "return_dict": (True,),
    "output_hidden_states": (None, False, True),
    "pruned_heads": (None, {}),
}
_FLOWS = (
    "FlowMatchEulerDiscreteScheduler",
    "FlowMatchHeunDiscreteScheduler",
    "FlowMatchLCMScheduler",
    "UniPCMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "DEISMultistepScheduler",
    "SASolverScheduler",
)
_WANS = ("WanTransformer3DModel", "WanVACETransformer3DModel")


# Of model_index.json, the parts that are read and the classes that they may have, and
# parts that change no result.
_READ = _words(
    "unet transformer transformer_2 vae text_encoder text_encoder_2 tokenizer "
    "tokenizer_2 scheduler"
)
_CLASSES = _words(
    "UNet2DConditionModel AutoencoderKL AutoencoderDC CLIPTextModel "
    "CLIPTextModelWithProjection CLIPTokenizer CLIPTokenizerFast"
).union(NEAREST)
_OF_VIDEO = _words("AutoencoderKLWan UMT5EncoderModel").union(_FLOWS, _WANS)
_NEVER_NEEDED = _words("safety_checker feature_extractor image_encoder")

_FUNCTIONS = ("silu", "swish", "mish", "gelu", "relu")  # as diffusers names them
_NETWORK: Runnable = {
    "act_fn": _FUNCTIONS,
    "resnet_time_scale_shift": ("default", "scale_shift"),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "mid_block_type": (None, "UNetMidBlock2DCrossAttn", "UNetMidBlock2D"),
    "addition_embed_type": (None, "text_time"),
    "downsample_padding": (1,),  # with another, halves have other sides
    **_off(
        "only_cross_attention encoder_hid_dim encoder_hid_dim_type "
        "num_attention_heads class_embed_type num_class_embeds"
    ),
}
_BLOCKS = ("ResBlock", "EfficientViTBlock")
_COLOURS: Runnable = {
    "in_channels": (3,),
    "out_channels": (3,),
    "act_fn": _FUNCTIONS,
}
_VIDEO: Runnable = {
    "qk_norm": ("rms_norm_across_heads",),
    **_off("image_dim added_kv_proj_dim pos_embed_seq_len"),
}
ALLOWED: Mapping[str, Runnable] = {
    "UNet2DConditionModel": {
        **_NETWORK,
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "time_embedding_type": ("positional", "fourier"),
        "time_embedding_act_fn": (None, *_FUNCTIONS),
        "timestep_post_act": (None, *_FUNCTIONS),
        "conv_in_kernel": (3,),
        "conv_out_kernel": (3,),
        "attention_type": ("default",),
        **_off(
            "dual_cross_attention class_embeddings_concat "
            "mid_block_only_cross_attention cross_attention_norm"
        ),
    },
    "ControlNetModel": {
        **_NETWORK,
        "conditioning_channels": (3,),
        "controlnet_conditioning_channel_order": ("rgb", "bgr"),
        "global_pool_conditions": _OFF,
    },
    "MotionAdapter": {"conv_in_channels": (None, 0)},
    "AutoencoderKL": _COLOURS,
    "AutoencoderDC": {
        "in_channels": (3,),
        "encoder_block_types": _BLOCKS,
        "decoder_block_types": _BLOCKS,
        "upsample_block_type": ("pixel_shuffle", "interpolate"),
        "downsample_block_type": ("pixel_unshuffle", "conv", "Conv"),
        "decoder_norm_types": ("rms_norm", "batch_norm"),
        "decoder_act_fns": _FUNCTIONS,
        "decoder_conv_act_fn": _FUNCTIONS,
    },
    "WanTransformer3DModel": _VIDEO,
    "WanVACETransformer3DModel": _VIDEO,
    "AutoencoderKLWan": {
        "in_channels": (3, 12),
        "out_channels": (3, 12),
        "patch_size": (*_OFF, 2),
    },
}
"""Of the classes of diffusers that are built from their configuration, all of whose
other keys are honoured."""
HONOURED = _words(
    "num_train_timesteps beta_start beta_end beta_schedule trained_betas steps_offset "
    "set_alpha_to_one timestep_spacing rescale_betas_zero_snr "
    # How a scheduler goes from level to level, which a method's `sampler` decides here.
    # Estimates are never clipped: diffusers' pipelines of Stable Diffusion take no notice
    # of `clip_sample` either.
    "clip_sample clip_sample_range variance_type solver_order algorithm_type "
    "solver_type lower_order_final use_karras_sigmas use_exponential_sigmas "
    "use_beta_sigmas euler_at_final lambda_min_clipped use_lu_lambdas "
    "final_sigmas_type interpolation_type sigma_min sigma_max skip_prk_steps "
    "predictor_order corrector_order tau_func predict_x0 disable_corrector solver_p "
    "dynamic_thresholding_ratio sample_max_value flow_shift time_shift_type"
)
"""Keys of schedulers that are read, or that a sampler takes the place of."""
SCHEDULER: Runnable = {
    "_class_name": (None, *NEAREST),
    "prediction_type": PREDICTIONS,
    "timestep_type": ("discrete",),
    "original_inference_steps": (50,),
    "timestep_scaling": (10,),
    **_off("thresholding use_flow_sigmas use_dynamic_shifting shift_terminal"),
}
"""Of all schedulers in `NEAREST` together."""

FLOW: Runnable = {
    "_class_name": (None, *_FLOWS),
    "prediction_type": (None, "flow_prediction"),
    "use_flow_sigmas": (None, True),
    "num_train_timesteps": (1000,),
    **_off(
        "use_dynamic_shifting shift_terminal invert_sigmas use_karras_sigmas "
        "use_exponential_sigmas use_beta_sigmas"
    ),
}
_ACTIVATIONS = (
    "quick_gelu",
    "gelu",
    "gelu_new",
    "gelu_fast",
    "gelu_pytorch_tanh",
    "relu",
    "silu",
    "swish",
)
OF_TEXT: Mapping[str, Runnable] = {
    "CLIPTextConfig": {
        "model_type": (None, "clip_text_model", "clip"),
        "quantization_config": _OFF,
        "hidden_act": _ACTIVATIONS,
    },
    "UMT5Config": {
        "model_type": (None, "umt5"),
        "quantization_config": _OFF,
        "feed_forward_proj": (
            "gated-gelu",
            *_ACTIVATIONS,
            *(f"gated-{name}" for name in _ACTIVATIONS),
        ),
        "dense_act_fn": _ACTIVATIONS,
        "is_decoder": _OFF,
    },
}
"""Of text encoders, by their configurations of transformers."""

BESIDE_TEXT = _words(
    # of every model: names, types, what else is returned
    "model_type architectures transformers_version dtype torch_dtype id2label label2id "
    "problem_type output_hidden_states output_attentions chunk_size_feed_forward "
    "is_encoder_decoder use_bfloat16 torchscript gradient_checkpointing "
    # how older versions would write texts
    "max_length min_length do_sample early_stopping num_beams num_beam_groups "
    "diversity_penalty temperature top_k top_p typical_p repetition_penalty "
    "length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids "
    "num_return_sequences output_scores return_dict_in_generate forced_bos_token_id "
    "forced_eos_token_id remove_invalid_values exponential_decay_length_penalty "
    "suppress_tokens begin_suppress_tokens finetuning_task tokenizer_class prefix "
    "sep_token_id task_specific_params tf_legacy_loss tie_encoder_decoder "
    "tie_word_embeddings "
    # of training, and of umT5's own files
    "dropout output_past scalable_attention "
    # of the built-in model, which honours it
    "zero_padding"
)
"""Keys beside those of text encoders that change no vector that is read."""

# Of each part of a model, the classes that are read, the first where the file names
# none.
CLASSES: Mapping[str, tuple[str, ...]] = {
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderKL", "AutoencoderDC", "AutoencoderKLWan"),
    "transformer": _WANS,
    "transformer_2": _WANS,
    "control": ("ControlNetModel",),
    "motion": ("MotionAdapter",),
}


def check_keys(content: Values, part: str, place: str) -> None:
    """Refuse a configuration of another class, or with a value that we cannot run.

    Args:
        content: The configuration.
        part: unet, vae, transformer, control, motion, scheduler, or flow: the scheduler
            of a video model.
        place: The model and the file, for the message.
    Raises:
        ModelError: It is of another class, or a key has such a value.
    """
    if part == "flow":
        _refuse_values(content, FLOW, place)
        both = [content.get("flow_shift"), content.get("shift")]
        if all(both) and both[0] != both[1]:
            raise unsupported(place, "flow_shift and shift", both, "Keep one")
    elif part == "scheduler":
        _refuse_values(content, SCHEDULER, place)
        _refuse_unknown(content, HONOURED.union(SCHEDULER, _BESIDE), place)
    elif part in CLASSES:
        classes = CLASSES[part]
        _refuse_values(content, {"_class_name": (None, *classes)}, place)
        name = str(content.get("_class_name") or classes[0])
        _refuse_values(content, ALLOWED[name], place)


def check_known(content: Values, part: str, place: str) -> None:
    """Refuse a configuration, which passed `check_keys`, with a key that its class of
    diffusers does not know, by a ModelError. Imports that class."""
    import diffusers

    name = str(content.get("_class_name") or CLASSES[part][0])
    known = signature(getattr(diffusers, name).__init__).parameters
    _refuse_unknown(content, {*known, *_BESIDE}, place)


def with_defaults(content: Values, place: str) -> Content:
    """Return a scheduler_config.json with what it leaves out as its class of diffusers
    takes it. Imports that class.

    Raises:
        ModelError: It leaves out levels, and its class cannot be imported here.
    """
    import diffusers

    name = str(content.get("_class_name") or "DDIMScheduler")
    known = signature(getattr(diffusers, name).__init__).parameters.values()
    usual = {one.name: one.default for one in known if one.default is not one.empty}
    # a class without the key spaces its levels so
    whole = {"timestep_spacing": "linspace", **usual, **content}
    if not whole.keys() >= {"beta_start", "beta_end", "beta_schedule"}:
        advice = "Add beta_start, beta_end and beta_schedule"
        raise unsupported(place, "no levels, but", name, advice)
    return whole


def _refuse_values(
    content: Values, values: Runnable, place: str, advice: str = "Use another model"
) -> None:
    for key, allowed in values.items():
        value = content.get(key, allowed[0])
        entries = value if isinstance(value, list | tuple) else [value]
        if not all(entry in allowed for entry in entries):
            raise unsupported(place, key, value, advice)


def unsupported(
    place: str, key: str, value: object, advice: str = "Use another model"
) -> ModelError:
    """Make the error for a value that we cannot run; `place` is the model or file."""
    return ModelError(
        "model",
        f"{place} has {key} {shorten(value)}, which is not supported. {advice}.",
    )


def _refuse_unknown(content: Values, known: Collection[str], place: str) -> None:
    """Refuse a key of no class of the libraries: nobody knows what it asks for."""
    for key, value in content.items():
        is_private = key.startswith("_")  # such as the name of the class
        if key not in known and not is_private and value not in _OLD.get(key, _OFF):
            raise ModelError(
                "model",
                f"{place} has {shorten(key)} {shorten(value)}, which is not "
                "known. Remove it if it changes nothing, or use another model.",
            )


def check_text_encoder(content: Values, place: str, name: str) -> None:
    """Refuse the configuration of a text encoder of another class than that of `name`,
    whose weights are packed, or that asks for what is not done, by a ModelError.
    Imports transformers."""
    import transformers

    _refuse_values(content, OF_TEXT[name], place)
    kind = getattr(transformers, name)
    known = BESIDE_TEXT.union(kind().to_dict()).difference(_OLD)
    _refuse_unknown(content, known, place)
    try:
        kind(**content)
    except Exception as error:  # the library names the key
        raise ModelError("model", f"{place}: {error}. Use another model.") from error


def check_index(content: Values, place: str, is_video: bool) -> None:
    """Refuse a model_index.json that names a part of another class than those that are
    read, or needs what nobody gives here, by a ModelError."""
    allowed = _OF_VIDEO if is_video else _CLASSES
    for part in _READ.difference({"tokenizer"} if is_video else ()):
        named = class_in_index(content, part)
        if named not in (None, *allowed):
            raise unsupported(place, part, named)
    refiner = {"requires_aesthetics_score": _OFF}
    _refuse_values(content, refiner, place, "Use the base model, not the refiner")


def class_in_index(content: Values, part: str) -> str | None:
    """Return the class that a model_index.json names for a part; None if none."""
    entry = content.get(part)
    known = isinstance(entry, list) and len(entry) == 2 and entry[1] is not None
    return str(entry[1]) if known else None  # type: ignore[index]


def unused_parts(content: Values) -> list[str]:
    """Say which parts of a model_index.json nothing here reads, that may change what a
    model makes."""
    return [
        f"The model's {part} is not used."
        for part in content
        if part not in _READ | _NEVER_NEEDED
        and class_in_index(content, part) is not None
    ]
