"""Every position scheme as plain float64 numpy, written from the papers' formulas."""

import math

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def turned(x_LHC, positions, theta, rotary):
    """RoPE by complex numbers: channel i and i + rotary / 2 are one; the rest stays."""
    half = rotary // 2
    angle = positions[:, None] * theta ** (-2.0 * np.arange(half) / rotary)
    pair = (x_LHC[..., :half] + 1j * x_LHC[..., half:rotary]) * np.exp(1j * angle)[:, None]
    return np.concatenate((pair.real, pair.imag, x_LHC[..., rotary:]), -1)


def t5_bucket(distance, buckets, max_distance):
    """As in T5's code for a decoder, one distance at a time."""
    exact = buckets // 2
    if distance < exact:
        return distance
    wide = math.log(distance / exact) / math.log(max_distance / exact) * (buckets - exact)
    return min(exact + int(wide), buckets - 1)


def t5(scheme, p, m, n):
    return p["table"][t5_bucket(max(m - n, 0), scheme.buckets, scheme.max_distance)]


def kerple(scheme, p, m, n):
    if scheme.kernel == "power":
        return -np.exp(p["log_a"]) * float(abs(m - n)) ** (2 * sigmoid(p["odds_p"]))
    return -np.exp(p["log_p"]) * np.log(1 + np.exp(p["log_a"]) * abs(m - n))


def fire(scheme, p, m, n):
    psi = lambda x: np.log(abs(p["c"] * x) + 1)
    share = psi(abs(m - n)) / (psi(max(m, abs(p["threshold"]))) + 1e-6)
    hidden = np.maximum(share * p["input"] + p["input_bias"], 0)
    return hidden @ p["output"] + p["output_bias"]


def alibi(scheme, p, m, n):
    return -np.array([2**-2, 2**-4, 2**-6, 2**-8]) * (m - n)  # for 4 heads


BIASES = {"alibi": alibi, "t5": t5, "kerple": kerple, "fire": fire}


def scores(scheme, p, q_LHC, k_LKC, positions, visible, cap):
    """Scores [H, L, L] of one row in one layer.

    p: what the scheme learned for the layer; cap: of the scores, before biases.
    """
    _, H, C = q_LHC.shape
    if scheme.name == "rope":
        rotary = 2 * int(C * scheme.rotary_share / 2)
        q_LHC, k_LKC = (turned(x, positions, scheme.theta, rotary) for x in (q_LHC, k_LKC))
    keys_LHC = np.repeat(k_LKC, H // k_LKC.shape[1], axis=1)
    products = np.einsum("qhc,khc->hqk", q_LHC, keys_LHC) / np.sqrt(C)
    if scheme.name == "seqpe":
        x = seqpe_embeddings(scheme, p, positions)
        q_LHP, k_LKP = (np.einsum("le,ehp->lhp", x, p[f"{name}_map"]) for name in "qk")
        k_LHP = np.repeat(k_LKP, H // k_LKP.shape[1], axis=1)
        products += np.einsum("qhp,khp->hqk", q_LHP, k_LHP) / np.sqrt(C)
    products = cap(products)
    if scheme.name in BIASES:
        bias = [[BIASES[scheme.name](scheme, p, m, n) for n in positions] for m in positions]
        products += np.array(bias).transpose(2, 0, 1)
    if scheme.name == "cope":
        products += cope(p["vectors"], q_LHC, products, visible)
    return products


def cope(vectors, q_LHC, products, visible):
    bias = np.zeros_like(products)
    last = len(vectors) - 1
    for h, i, j in np.ndindex(*products.shape):
        gates = [sigmoid(products[h, i, k]) for k in range(j, i + 1) if visible[i, k]]
        position = min(sum(gates), last)
        below = math.floor(position)
        above = min(below + 1, last)
        vector = (1 - position + below) * vectors[below] + (position - below) * vectors[above]
        bias[h, i, j] = q_LHC[i, h] @ vector
    return bias


def seqpe_embeddings(scheme, p, positions):
    return np.stack([seqpe_embedding(scheme, p, int(position)) for position in positions])


def seqpe_embedding(scheme, p, position):
    """The digits of one position, and the last token, through the encoder."""

    def norm(number, x):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return x * p["norm_scale"][number] + p["norm_bias"][number]

    def gelu(x):
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))

    digits = [int(digit) for digit in str(position).zfill(scheme.digits)]
    x = [p["digit"][digit] + p["place"][i] for i, digit in enumerate(digits)]
    x = np.stack([*x, p["last"]])
    size = scheme.width // scheme.heads
    for n in range(scheme.layers):
        y = norm(2 * n, x) @ p["attention_in"][n] + p["attention_in_bias"][n]
        q, k, v = np.split(y, 3, axis=-1)
        mixed = np.zeros_like(x)
        for h in range(scheme.heads):
            part = slice(h * size, (h + 1) * size)
            for i in range(len(x)):
                weights = np.exp(q[i, part] @ k[: i + 1, part].T / np.sqrt(size))
                mixed[i, part] = weights / weights.sum() @ v[: i + 1, part]
        x = x + mixed @ p["attention_out"][n] + p["attention_out_bias"][n]
        y = gelu(norm(2 * n + 1, x) @ p["mlp_in"][n] + p["mlp_in_bias"][n])
        x = x + y @ p["mlp_out"][n] + p["mlp_out_bias"][n]
    return norm(2 * scheme.layers, x)[-1] @ p["out"] + p["out_bias"]


def input_vectors(scheme, p, tokens, positions, segments):
    """[L, D] that a scheme adds to the embeddings of one row."""
    if scheme.name == "learned":
        return p["table"][positions]
    if scheme.name == "abacus":
        return p["table"][places(tokens, scheme.digit_tokens, segments)]
    assert scheme.name == "sinusoidal"
    D = p["embed_dim"]
    i = np.arange(D)
    angle = positions[:, None] * scheme.theta ** (-(i - i % 2) / D)
    return np.where(i % 2 == 0, np.sin(angle), np.cos(angle)) / np.sqrt(D)


def places(tokens, digit_tokens, segments):
    """1, 2, ... along each run of digits of a document, 0 elsewhere."""
    found = []
    for t, token in enumerate(tokens):
        goes_on = t > 0 and segments[t] == segments[t - 1]
        before = found[-1] if goes_on else 0
        found.append(before + 1 if token in digit_tokens else 0)
    return np.array(found)
