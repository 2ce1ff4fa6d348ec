"""Neural networks as forward models. No optimiser is imported here."""

from clew.nn.activation import gelu, leaky_relu, log_softmax, relu, sigmoid, softmax, softplus
from clew.nn.container import DenseBlock, Function, Residual, Sequential, gradient_norms
from clew.nn.dense import Dense
from clew.nn.initialise import (
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    orthogonal,
)
from clew.nn.loss import contrastive_loss, cross_entropy, logistic_loss, squared_distance
from clew.nn.module import Module, module, parameter_count, static
from clew.nn.normalise import BatchNorm, LayerNorm, Standardise, calibrate
from clew.nn.recurrent import Cell, GRUCell, LSTMCell, RecurrentStack, RNNCell, unroll
from clew.nn.tree import Tree, TreeCell, TreeLSTMCell, fold
from clew.ops.conv import conv_transposed, convolution

__all__ = [
    "BatchNorm",
    "Cell",
    "Dense",
    "DenseBlock",
    "Function",
    "GRUCell",
    "LSTMCell",
    "LayerNorm",
    "Module",
    "RNNCell",
    "RecurrentStack",
    "Residual",
    "Sequential",
    "Standardise",
    "Tree",
    "TreeCell",
    "TreeLSTMCell",
    "calibrate",
    "contrastive_loss",
    "conv_transposed",
    "convolution",
    "cross_entropy",
    "fold",
    "gelu",
    "glorot_normal",
    "glorot_uniform",
    "gradient_norms",
    "he_normal",
    "he_uniform",
    "leaky_relu",
    "log_softmax",
    "logistic_loss",
    "module",
    "orthogonal",
    "parameter_count",
    "relu",
    "sigmoid",
    "softmax",
    "softplus",
    "squared_distance",
    "static",
    "unroll",
]
