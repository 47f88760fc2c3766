"""Optimizers that look at the surface: they evaluate the loss, and each step leaves a record."""

from thalweg.optim._adam import Adam, adam_step
from thalweg.optim._closure_objective import ClosureObjective
from thalweg.optim._cubic_regularisation import CubicRegularisation
from thalweg.optim._damped import Damped
from thalweg.optim._dense_saddle_free_newton import DenseSaddleFreeNewton
from thalweg.optim._diagonal import Diagonal
from thalweg.optim._first_order import FirstOrder
from thalweg.optim._gradient_descent import GradientDescent, gradient_descent_step
from thalweg.optim._heavy_ball import HeavyBall, heavy_ball_step
from thalweg.optim._kfac import KFAC
from thalweg.optim._levenberg_marquardt import LevenbergMarquardt, levenberg_marquardt_step
from thalweg.optim._metric import Identity, Metric
from thalweg.optim._nesterov import Nesterov, nesterov_step
from thalweg.optim._newton import Newton, newton_step
from thalweg.optim._newton_cg import NewtonCG, NewtonCGDirection, newton_cg_direction
from thalweg.optim._objective import Objective
from thalweg.optim._optimizer import Outcome, SurfaceOptimizer
from thalweg.optim._problem_objective import ProblemObjective
from thalweg.optim._record import StepRecord
from thalweg.optim._recorded_optimizer import RecordedOptimizer
from thalweg.optim._saddle_free_newton import SaddleFreeNewton, saddle_free_step
from thalweg.optim._secular import cubic_step, trust_region_step
from thalweg.optim._stochastic_newton import StochasticNewton, two_direction_step
from thalweg.optim._subspace import Krylov, Space, Subspace, Whole, krylov_space, whole_space
from thalweg.optim._trust_region import TrustRegion
from thalweg.optim._trust_region_cg import SteihaugWay, TrustRegionCG, steihaug_way
from thalweg.optim._walk import Attempt, Proposal, Walk

__all__ = [
    "KFAC",
    "Adam",
    "Attempt",
    "ClosureObjective",
    "CubicRegularisation",
    "Damped",
    "DenseSaddleFreeNewton",
    "Diagonal",
    "FirstOrder",
    "GradientDescent",
    "HeavyBall",
    "Identity",
    "Krylov",
    "LevenbergMarquardt",
    "Metric",
    "Nesterov",
    "Newton",
    "NewtonCG",
    "NewtonCGDirection",
    "Objective",
    "Outcome",
    "ProblemObjective",
    "Proposal",
    "RecordedOptimizer",
    "SaddleFreeNewton",
    "Space",
    "SteihaugWay",
    "StepRecord",
    "StochasticNewton",
    "Subspace",
    "SurfaceOptimizer",
    "TrustRegion",
    "TrustRegionCG",
    "Walk",
    "Whole",
    "adam_step",
    "cubic_step",
    "gradient_descent_step",
    "heavy_ball_step",
    "krylov_space",
    "levenberg_marquardt_step",
    "nesterov_step",
    "newton_cg_direction",
    "newton_step",
    "saddle_free_step",
    "steihaug_way",
    "trust_region_step",
    "two_direction_step",
    "whole_space",
]
