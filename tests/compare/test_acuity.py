from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from zoomgap.compare import acuity
from zoomgap.compare.stats import bootstrap_weights


def simulate(rng, n, threshold, ceiling=0.95, slope=3.0):
    """x, right, guess of an arm whose chance-corrected accuracy is 0.5 at `threshold` px."""
    x = rng.uniform(np.log2(5), np.log2(56), n)
    guess = np.where(rng.random(n) < 0.5, 0.25, 0.0)
    middle = np.log2(threshold) - np.log(1 / (2 * ceiling - 1)) / slope if ceiling > 0.5 else np.log2(threshold)
    p = guess + (1 - guess) * ceiling * expit(slope * (x - middle))
    return x, (rng.random(n) < p).astype(float), guess


def fit(x, right, guess, draws=100):
    return acuity.fit_acuity(x, right, guess, np.arange(x.size), bootstrap_weights(x.size, draws, 0))


@pytest.mark.parametrize("threshold", [8.0, 14.0, 30.0])
@pytest.mark.parametrize("ceiling", [0.98, 0.8])
def test_threshold_and_ceiling_are_recovered(threshold, ceiling):
    found = fit(*simulate(np.random.default_rng(0), 4000, threshold, ceiling)).acuity
    assert found.state == "estimated"
    assert found.px == pytest.approx(threshold, rel=0.08)
    assert found.ceiling == pytest.approx(ceiling, abs=0.06)
    assert found.low < found.px < found.high
    assert acuity.Acuity.at(found, np.array([found.px]))[0] == pytest.approx(0.5)


def test_the_threshold_does_not_depend_on_the_answer_form():
    """The same arm asked with four choices or openly has one acuity: g is taken out."""
    rng = np.random.default_rng(5)
    x = rng.uniform(np.log2(5), np.log2(56), 6000)
    seen = expit(3 * (x - 4))
    found = [
        fit(x, (rng.random(x.size) < g + (1 - g) * seen).astype(float), np.full(x.size, g)).acuity.px
        for g in (0.0, 0.25, 0.5)
    ]
    assert found == pytest.approx([16.0] * 3, rel=0.06)


def test_a_low_ceiling_is_not_reached():
    found = fit(*simulate(np.random.default_rng(0), 2000, 10.0, ceiling=0.35)).acuity
    assert found.state == "not reached"
    assert found.px is None
    assert found.ceiling == pytest.approx(0.35, abs=0.06)


@pytest.mark.parametrize(("threshold", "side"), [(2.0, "under 5.0 px"), (200.0, "over")])
def test_data_that_do_not_bracket_it_are_not_estimable(threshold, side):
    found = fit(*simulate(np.random.default_rng(0), 1000, threshold)).acuity
    assert found.state == "not estimable"
    assert side in found.reason
    assert found.px is None


def test_a_curve_that_never_rises_says_nothing_of_its_ceiling():
    x = np.random.default_rng(0).uniform(2, 6, 500)
    assert fit(x, np.zeros(500), np.zeros(500)).acuity.ceiling is None


def test_few_answers_are_not_estimable():
    assert "only 12" in fit(*simulate(np.random.default_rng(0), 12, 14.0)).acuity.reason


def test_an_open_interval_has_no_end():
    x, right, guess = simulate(np.random.default_rng(0), 60, 45.0, slope=2.0)
    found = fit(x, right, guess).acuity
    assert found.state == "estimated"
    assert found.high is None


def test_all_rows_at_once_find_what_a_general_optimiser_finds():
    rng = np.random.default_rng(0)
    x, guess = np.linspace(2, 6, 25), np.tile([0.0, 0.25], 13)[:25]
    total = rng.integers(5, 40, (4, 25)).astype(float)
    p = guess + (1 - guess) * 0.9 * expit(3 * (x - np.array([[3.0], [3.7], [4.4], [5.0]])))
    right = rng.binomial(total.astype(int), p).astype(float)
    curves = acuity.fit_curves(x, guess, right, total)
    centre = float(np.average(x, weights=total[0] + 1e-9))
    for row in range(4):

        def loss(theta, row=row):
            rows = slice(row, row + 1)
            return -acuity._log_posterior(theta[None], x, guess, right[rows], total[rows], centre)[0]

        start = np.array([curves.midpoint[row] + 0.3, 1.0, 1.0])
        best = minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9, "maxiter": 4000})
        ours = np.array([curves.midpoint[row], np.log(curves.slope[row]), np.log(1 / (1 / curves.ceiling[row] - 1))])
        assert loss(ours) <= best.fun + 1e-3


def test_ratio_is_paired_and_leaves_out_what_has_no_threshold():
    rng = np.random.default_rng(0)
    sharp = {"ocr": fit(*simulate(rng, 2000, 8)), "color": fit(*simulate(rng, 2000, 10))}
    blunt = {"ocr": fit(*simulate(rng, 2000, 16)), "color": fit(*simulate(rng, 2000, 2))}
    ratio = acuity.acuity_ratio(sharp, blunt)
    assert ratio.dimensions == ("ocr",)
    assert ratio.value == pytest.approx(0.5, rel=0.1)
    assert ratio.low < ratio.value < ratio.high
    itself = acuity.acuity_ratio(sharp, sharp)
    assert (itself.low, itself.value, itself.high) == (1.0, 1.0, 1.0)
    assert acuity.geometric_mean(sharp).value == pytest.approx(np.sqrt(80), rel=0.08)
    assert acuity.geometric_mean({"color": blunt["color"]}) is None


def test_equal_seeds_give_equal_fits():
    data = simulate(np.random.default_rng(0), 300, 14.0)
    assert fit(*data).acuity == fit(*data).acuity
