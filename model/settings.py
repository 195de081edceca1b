"""A decoder as the user asks for it, before platform and sequence length have decided the rest."""

import dataclasses

from lengthwise.common.errors import UserError
from lengthwise.model.attention.attention import choose_backend
from lengthwise.model.attention.backends.support import Request
from lengthwise.model.attention.masks import CAUSAL, Mask
from lengthwise.model.config import ModelConfig
from lengthwise.model.positions.rope_scaling import UNSCALED, RopeScaling
from lengthwise.model.positions.scheme import BIASES, LayerScheme
from lengthwise.model.positions.settings import PositionSettings


@dataclasses.dataclass(frozen=True)
class ModelSettings:
    """The fields of `ModelConfig`; "auto" where the platform decides, 0 where a cap is off."""

    layers: int
    embed_dim: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    mlp_dim: int
    positions: PositionSettings
    layer_pattern: tuple[str, ...]  # schemes of successive layers, repeated; empty: all alike
    qk_norm: bool
    attention_softcap: float  # 0: off
    attention_weights: str  # softmax | lssa | lssar
    logit_softcap: float  # 0: off
    dropout: float
    tie_embeddings: bool
    compute_dtype: str  # auto | float32 | bfloat16
    attention: str  # auto | a backend of model.attention
    attention_block: int
    layer_execution: str  # auto | unroll | scan
    remat: str

    def resolve(
        self,
        vocab_size: int,
        platform: str,
        length: int,
        mask: Mask = CAUSAL,
        scaling: RopeScaling = UNSCALED,
        segmented: bool = False,
        row_devices: int = 1,
    ) -> ModelConfig:
        """The config that computes sequences of `length` tokens on `platform`.

        mask, scaling, segmented (rows hold several documents, or padding), row_devices (that share
        the tokens of a row): what attention must be able to serve.

        Raises:
          UserError: a field has no meaning, an explicit backend can't serve, or the length is
            beyond what a position scheme has positions for.
        """
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        input_scheme, layer_schemes = fields.pop("positions").resolve(fields.pop("layer_pattern"))
        for name in ("attention_softcap", "logit_softcap"):
            if fields[name] < 0:
                raise UserError(f"model.{name}={fields[name]} must be positive, or 0 for none")
            fields[name] = fields[name] or None
        fields["compute_dtype"] = self._dtype(platform)
        if self.layer_execution == "auto":
            fields["layer_execution"] = "unroll" if platform == "cpu" else "scan"
        request = self._request(
            layer_schemes,
            fields["compute_dtype"],
            length,
            mask,
            scaling,
            segmented,
            row_devices,
        )
        if row_devices > 1 and input_scheme is not None and input_scheme.lookback:
            raise UserError(
                f"the position scheme {input_scheme.name!r} reads a token's neighbours, and "
                f"{row_devices} devices share a row of {length} tokens; raise tokens_per_step or "
                "use fewer devices"
            )
        fields["attention"], _ = choose_backend(self.attention, platform, length, request)
        config = ModelConfig(
            vocab_size=vocab_size,
            input_scheme=input_scheme,
            layer_schemes=layer_schemes,
            randomized=self.positions.randomized,
            **fields,
        )
        config.check_length(length)
        return config

    def attention_choice(
        self,
        platform: str,
        length: int,
        scaling: RopeScaling,
        segmented: bool,
        row_devices: int,
    ) -> str:
        """The backend for `length` and why, in words, to be printed once at start."""
        schemes = self.positions.resolve(self.layer_pattern)[1]
        dtype = self._dtype(platform)
        request = self._request(schemes, dtype, length, CAUSAL, scaling, segmented, row_devices)
        backend, reason = choose_backend(self.attention, platform, length, request)
        return f"{backend} ({reason})"

    def _dtype(self, platform: str) -> str:
        if self.compute_dtype != "auto":
            return self.compute_dtype
        return "float32" if platform == "cpu" else "bfloat16"

    def _request(
        self,
        schemes: tuple[LayerScheme, ...],
        dtype: str,
        length: int,
        mask: Mask,
        scaling: RopeScaling,
        segmented: bool,
        row_devices: int,
    ) -> Request:
        """What the most demanding layer asks of attention: one backend serves all layers."""
        bias = max((scheme.bias for scheme in schemes), key=BIASES.index)
        return Request(
            mask=mask,
            bias=bias,
            far=scaling.far is not None,
            normalizer=self.attention_weights != "softmax",
            softcap=self.attention_softcap > 0,
            segments=segmented,
            head_dim=max(scheme.score_channels(self.head_dim) for scheme in schemes),
            dtype=dtype,
            length=length,
            row_devices=row_devices,
        )
