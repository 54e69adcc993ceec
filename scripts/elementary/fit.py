#!/usr/bin/env python3
"""Makes the constants of elman's f32 tanh and exp from scratch: python3 fit.py > src/constants.rs (needs numpy, mpmath).

tanh, for a = |x|: t = SCALE * a + OFFSET falls into one of eight halves of binades, [1/2, 3/4) [3/4, 1) [1, 3/2) ... [6, 8),
which the low three bits of bits(t) >> 22 name: 4..7, 0..3. That makes segments of a that are about equally hard.
    d = a - center                   exact
    p = c0 + c1*d + ... + c6*d^6
    tanh(a) = base + d*p             base = a and center = 0 in the first segment
Centers are chosen so that tanh(center) is almost exactly an f32 (Gal's accurate points): `base` then costs no accuracy.
In the tail they sit at the right end of the segment: d and with it the noise of p vanish where tanh is flattest, which
keeps the result monotone. Each fit is a weighted minimax (Lawson's iteration) with one coefficient after another
rounded to f32, the ones whose rounding hurts most first, and the rest fitted again to make up for it. Deterministic.
"""
import mpmath as mp
import numpy as np

mp.mp.prec = 120
LIMIT = 9.03125
SCALE = 0.828
OFFSET = 0.5
EDGES = [(t - OFFSET) / SCALE for t in (OFFSET, 0.75, 1, 1.5, 2, 3, 4, 6)] + [LIMIT]
LAST = len(EDGES) - 2
f32 = lambda v: float(np.float32(float(v)))
ulp = lambda y: 2.0 ** (np.floor(np.log2(y)) - 23)


def lawson(target, basis, ridge=0.0, steps=60):
    """Coefficients that nearly minimize max |target - basis @ c|, and that maximum. A ridge can keep big terms
    that cancel from trading rounding noise for a smaller fit error."""
    scale = np.abs(basis).max(0)
    weight, best = np.ones(len(target)) / len(target), (np.inf, None)
    for _ in range(steps):
        root = np.sqrt(weight)
        rows = np.concatenate([basis / scale * root[:, None], ridge * np.eye(len(scale))])
        c = np.linalg.lstsq(rows, np.concatenate([target * root, 0 * scale]), rcond=None)[0]
        residual = np.abs(target - basis / scale @ c)
        if residual.max() < best[0]:
            best = residual.max(), c / scale
        weight *= residual
        weight /= weight.sum()
    return best


def fit_rounded(target, basis, ridge=0.0):
    """f32 coefficients for a minimax fit: round the most harmful one, fit the others again, repeat."""
    fixed, free, rest = {}, list(range(basis.shape[1])), target.copy()
    while free:
        _, c = lawson(rest, basis[:, free], ridge)
        harm = [np.abs(basis[:, j]).max() * abs(c[i]) for i, j in enumerate(free)]
        i = int(np.argmax(harm))
        j = free.pop(i)
        fixed[j] = f32(c[i])
        rest = rest - basis[:, j] * fixed[j]
    return [fixed[j] for j in range(basis.shape[1])], np.abs(rest).max()


def accurate_points(around, spread, count):
    """The f32 within around +- spread whose tanh lies nearest to an f32 (in units of its last place), best first."""
    found = []
    for i in range(20001):
        c = f32(around + spread * (i / 10000 - 1))
        y = mp.tanh(c)
        found.append((float(abs(y - f32(y))) / ulp(float(y)), c))
    return [c for _, c in sorted(set(found))[:count]]


def trial(i, lo, hi, center, base, c, runs=40, length=1500):
    """The lanes' arithmetic on runs of adjacent floats: worst error in ulp, and how many steps of the whole segment
    should be expected to go the wrong way (from the depth of the dips before the last rounding)."""
    one = np.float32
    fma = lambda x, y, z: (x.astype(np.float64) * y + z).astype(one)
    worst, dips = 0.0, 0.0
    first = max(lo, 0.01)
    for k in range(runs):
        start = np.float32(first + (hi - first) * (k + 0.5) / runs).view(np.uint32)
        a = (start + np.arange(length, dtype=np.uint32)).view(one)
        d = a - one(center)
        d2 = d * d
        c = [np.float64(v) for v in c]
        low = fma(d2, fma(d, c[3], c[2]), fma(d, c[1], c[0]))
        high = fma(d2, c[6], fma(d, c[5], c[4]))
        p = fma(d2 * d2, high, low)
        raw = d.astype(np.float64) * p + (a.astype(np.float64) if i == 0 else base)
        exact = np.tanh(a.astype(np.longdouble)).astype(np.float64)
        unit = ulp(exact)
        worst = max(worst, (np.abs(raw - exact) / unit).max())
        density = (hi - first) / runs / (float(a[-1]) - float(a[0]))
        dips += (np.maximum(raw[:-1] - raw[1:], 0) / unit[1:]).sum() * density
    return 0.5 + worst, dips


def segment(i):
    lo, hi = EDGES[i], EDGES[i + 1]
    a = (lo + hi) / 2 + (hi - lo) / 2 * np.cos(np.pi * (np.arange(300) + 0.5) / 300)
    exact = [mp.tanh(v) for v in a]
    weight = 1 / ulp(np.array([float(y) for y in exact]))
    if i == 0:
        centers = [0.0]
    elif i == LAST:
        centers = accurate_points(8.66, 0.05, 4)  # where tanh is the last float below 1
    else:
        width = hi - lo
        place = 0.98 if i >= 4 else 0.36  # d is to be small where the slope is large
        centers = accurate_points(lo + place * width, 0.02 * width, 4)
    best = None
    for center in centers:
        base = f32(mp.tanh(center))
        d = a - center
        target = np.array([float(y - (v if i == 0 else base)) for y, v in zip(exact, a)]) * weight
        basis = np.stack([d ** (n + 1) for n in range(7)], 1) * weight[:, None]
        for ridge in [0.0] + [2.0**-n for n in range(36, 18, -2)]:
            terms = 5 if i == LAST else 7  # five are enough there, and with fewer terms no rounding noise breaks monotony
            c, error = fit_rounded(target, basis[:, :terms], ridge)
            c += [0.0] * (7 - terms)
            if error < 0.45:
                worst, dips = trial(i, lo, hi, center, base, c)
                cost = worst + 0.3 * np.log10(1 + dips)
                if best is None or cost < best[0]:
                    best = cost, error, worst, dips, ridge, center, base, c
    _, error, worst, dips, ridge, center, base, c = best
    miss = float(abs(mp.tanh(center) - base)) / ulp(max(base * (1 - 1e-9), 1e-9))
    print(f"// [{lo:.4f}, {hi:.4f}): fit {error:.4f} ulp, base off by {miss:.5f}, trial {worst:.3f} ulp, "
          f"{dips:.2g} steps down expected, ridge {ridge:.1g}")
    return [center, base] + c


def show(name, row):
    bits = ", ".join(f"0x{np.float32(v).view(np.uint32):08x}" for v in row)
    print(f"const {name}: [u32; {len(row)}] = [{bits}];\n    // " + ", ".join(f"{v:.9g}" for v in row))


def tanh_tables():
    rows = [segment(i) for i in range(len(EDGES) - 1)]
    table = rows[4:] + rows[:4]
    print(f"const LIMIT: f32 = {LIMIT};\nconst SCALE: f32 = {SCALE};\nconst OFFSET: f32 = {OFFSET};")
    for n, name in enumerate(["CENTER", "BASE"] + [f"C{n}" for n in range(7)]):
        show(name, [row[n] for row in table])


def exp_constants():
    """e^r = 1 + (r + r*r*q(r)), 3/4 <= e^r <= 3/2; ln 2 = HI + LO, HI short enough that n*HI is exact for |n| < 2^9."""
    ln2 = mp.log(2)
    hi = float(mp.nint(ln2 * 2**15)) / 2**15
    lo, hi_r = -0.2878, 0.4057
    r = (lo + hi_r) / 2 + (hi_r - lo) / 2 * np.cos(np.pi * (np.arange(400) + 0.5) / 400)
    target = np.array([float(mp.exp(v) - 1 - v) for v in r])
    weight = 1 / ulp(np.exp(r))
    q, error = fit_rounded(target * weight, np.stack([r ** (n + 2) for n in range(5)], 1) * weight[:, None])
    print(f"// exp: fit {error:.4f} ulp")
    show("EXP_Q", q)
    show("EXP_LOG2E_LN2HI_LN2LO", [f32(1 / ln2), hi, f32(ln2 - hi)])


if __name__ == "__main__":
    print("// Made by fit.py. Tables are indexed by the low three bits of bits(t) >> 22.")
    tanh_tables()
    exp_constants()
