"""Static argument of compiled programs: a model's declaration, its vocabulary and the platform."""

from dataclasses import dataclass, fields, replace
from functools import cached_property

from lengthwise.common.errors import UserError
from lengthwise.model.attention.backends.support import Request, choose_backend
from lengthwise.model.attention.masks import CAUSAL, Mask
from lengthwise.model.config import ModelConfig
from lengthwise.model.placement import Layers, layers_of
from lengthwise.model.positions.rope_scaling import UNSCALED, RopeScaling, check_on_top
from lengthwise.model.positions.scheme import BIASES, Dims, InputScheme, LayerScheme, Scheme


@dataclass(frozen=True, kw_only=True)
class ModelSpec(ModelConfig):
    """Declaration of a decoder, resolved for a vocabulary and a platform; hashable, static.

    compute_dtype and layer_execution are never "auto". The attention backend may be: it depends on
    length, mask and scaling too, and is chosen while tracing, see `backend`.

    Raises:
      UserError: the position schemes don't fit each other, the layers or the heads.
    """

    vocab_size: int  # token ids, the end of text included
    platform: str  # as `jax.Device.platform` has it

    @classmethod
    def of(cls, config: ModelConfig, vocab_size: int, platform: str) -> "ModelSpec":
        """Resolves what the platform decides."""
        values = {field.name: getattr(config, field.name) for field in fields(ModelConfig)}
        on_cpu = platform == "cpu"
        if config.compute_dtype == "auto":
            values["compute_dtype"] = "float32" if on_cpu else "bfloat16"
        if config.layer_execution == "auto":
            values["layer_execution"] = "unroll" if on_cpu else "scan"
        return cls(**values, vocab_size=vocab_size, platform=platform)

    def __post_init__(self) -> None:
        super().__post_init__()
        for scheme in self.schemes:
            scheme.check(self.dims)
        if self.rope_scaling.kind != "none" and not any(
            s.takes_model_scaling for s in self.schemes
        ):
            raise UserError(
                f"model.rope_scaling.kind={self.rope_scaling.kind!r} applies to no layer of "
                f"{self.position_scheme!r}: those of RoPE alone are scaled, without scaled=False; "
                "leave it 'none'"
            )
        if 0 < self.vocab_rows < self.vocab_size:
            raise UserError(
                f"model.vocab_rows={self.vocab_rows} is below the {self.vocab_size} ids of the "
                "tokenizer; raise it, or set it to 0"
            )

    @property
    def embedding_rows(self) -> int:
        """Rows of the embedding, and logits a token; those from vocab_size on have no token."""
        return self.vocab_rows or self.vocab_size

    @cached_property
    def _layers(self) -> Layers:
        return layers_of(self.positions, self.layer_pattern)

    @property
    def input_scheme(self) -> InputScheme | None:
        """Positions that are added to the embeddings."""
        return self._layers.input_scheme

    @property
    def layer_schemes(self) -> tuple[LayerScheme, ...]:
        """Positions in the layers: one period of the pattern. The last period may be cut off."""
        return self._layers.schemes

    def layer_masks(self, mask: Mask) -> tuple[Mask, ...]:
        """Masks of the layers of a period in a pass under `mask`.

        Raises:
          UserError: it doesn't go with the mask of a layer.
        """
        return tuple(mask.within(layer) for layer in self._layers.masks)

    def layers_at(self, place: int) -> int:
        """Number of layers at a place of the pattern."""
        return len(range(place, self.layers, len(self.layer_schemes)))

    def key_of(self, scheme: Scheme) -> str:
        """The name that tables and parameters of a scheme go by: another of the same scheme with
        other settings has a number."""
        same = [each for each in self.schemes if each.name == scheme.name]
        number = same.index(scheme) + 1
        return scheme.name if number == 1 else f"{scheme.name}_{number}"

    @property
    def schemes(self) -> tuple[Scheme, ...]:
        """Each position scheme once, that at the input first."""
        at_input = () if self.input_scheme is None else (self.input_scheme,)
        return tuple(dict.fromkeys((*at_input, *self.layer_schemes)))

    @property
    def dims(self) -> Dims:
        sizes = self.embed_dim, self.num_heads, self.num_kv_heads, self.head_dim
        return Dims(*sizes, self.rope_scaling)

    @property
    def random(self) -> bool:
        """Whether training samples random numbers."""
        sampled = self.positions.randomized > 0 or any(scheme.random for scheme in self.schemes)
        return self.dropout > 0 or sampled

    def span(self, length: int) -> int:
        """Exclusive upper bound on the positions of sequences of `length` tokens."""
        return self.positions.randomized or length

    def check(
        self,
        length: int,
        mask: Mask = CAUSAL,
        scaling: RopeScaling = UNSCALED,
        segmented: bool = False,
        row_devices: int = 1,
    ) -> None:
        """Checks that rows of `length` tokens can be computed; raises UserError with the reason.

        The arguments are those of `backend`, but for the scaling of RoPE, on top of the model's.
        """
        check_on_top(self.rope_scaling, scaling)
        scheme = self.input_scheme
        if row_devices > 1 and scheme is not None and scheme.lookback:
            raise UserError(
                f"the position scheme {scheme.name!r} reads a token's neighbours, and "
                f"{row_devices} devices share a row of {length} tokens; raise tokens_per_step or "
                "use fewer devices"
            )
        self.backend(length, mask, scaling.far is not None, segmented, row_devices)
        self.check_length(length)

    def check_length(self, length: int) -> None:
        """Raises UserError for sequences longer than a position scheme has positions."""
        randomized = self.positions.randomized
        if randomized and length > randomized:
            raise UserError(
                f"model.positions.randomized={randomized} is a range too small for sequences "
                f"of {length} tokens; widen it"
            )
        for scheme in self.schemes:
            if self.span(length) > scheme.longest:
                raise UserError(
                    f"the position scheme {scheme.name!r} has {scheme.longest} positions, but "
                    f"sequences of {length} tokens need {self.span(length)}; {scheme.remedy}"
                )

    def backend(
        self, length: int, mask: Mask, far: bool, segmented: bool, row_devices: int
    ) -> tuple[str, str]:
        """(attention backend for rows of `length` tokens, the reason in words).

        One serves all layers: it is chosen for the most demanding of them.

        Args:
          far: far pairs have other queries and keys, see `biases.FarField`.
          segmented: rows hold several documents, or padding.
          row_devices: devices that share the tokens of a row.

        Raises:
          UserError: an explicit backend, or any, can't serve.
        """
        schemes = self.layer_schemes
        plain = Request(
            bias=max((scheme.bias for scheme in schemes), key=BIASES.index),
            far=far,
            normalizer=self.attention_weights != "softmax",
            softcap=self.attention_softcap > 0,
            segments=segmented,
            head_dim=max(scheme.score_channels(self.head_dim) for scheme in schemes),
            dtype=self.compute_dtype,
            length=length,
            row_devices=row_devices,
        )
        requests = [replace(plain, mask=each) for each in dict.fromkeys(self.layer_masks(mask))]
        return choose_backend(self.attention, self.platform, length, requests)

    def learns_per_layer(self, scheme: Scheme) -> bool:
        """Whether each layer with the scheme has parameters of its own for it."""
        return isinstance(scheme, LayerScheme) and scheme.per_layer

    def scheme_layers(self, scheme: Scheme) -> int:
        """Number of layers that have the scheme."""
        places = [k for k, each in enumerate(self.layer_schemes) if each == scheme]
        return sum(self.layers_at(place) for place in places)

    @property
    def position_scheme(self) -> str:
        """The schemes in words: "rope", "rope/rope/rope/none", "abacus + fire", "randomized t5"."""
        names = [scheme.name for scheme in self.layer_schemes]
        layers = names[0] if len(set(names)) == 1 else "/".join(names)
        words = "randomized " if self.positions.randomized else ""
        if self.input_scheme is None:
            return words + layers
        return words + self.input_scheme.name + ("" if layers == "none" else f" + {layers}")

    @property
    def cache_block(self) -> int:
        """Block size in tokens of attention over a cache, of slots and of queries."""
        return self.attention_block or 512

    @property
    def output_std(self) -> float:
        """Factor on the initial output matrices of attention and MLP: 1 / sqrt(2 * layers).

        Keeps the variance of the residual stream at initialization independent of depth (GPT-2).
        """
        return (2 * self.layers) ** -0.5
