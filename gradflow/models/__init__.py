"""The zoo: residual and plain networks of He et al. 2015 and 2016, and networks from elsewhere."""

from gradflow.models.building import build_from_spec, build_model
from gradflow.models.listing import ModelDescription, describe_model, model_names
from gradflow.models.network import ResidualNetwork
from gradflow.models.recognition import recognise, shapes_of
from gradflow.models.specification import ModelSpec, make_spec
from gradflow.models.unit import Unit

__all__ = [
    "ModelDescription",
    "ModelSpec",
    "ResidualNetwork",
    "Unit",
    "build_from_spec",
    "build_model",
    "describe_model",
    "make_spec",
    "model_names",
    "recognise",
    "shapes_of",
]
