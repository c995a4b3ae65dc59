"""The jobs of a worker: train a run to a rung and score it, or score a model as it is."""

import contextlib
import logging
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from pydantic import Field, TypeAdapter
from torch import nn
from typing_extensions import Annotated

from keepgain.core.config import Runtime, ScoreConfig, SuiteRef
from keepgain.core.errors import UserError
from keepgain.core.items import write_items
from keepgain.core.record import RungReport
from keepgain.core.store.spool import Spool
from keepgain.core.work import ScoreRequest, TrainRequest, WorkReply
from keepgain.trainers.checkpoint import read_json, remove_leftovers, verify
from keepgain.trainers.data import DataCache
from keepgain.trainers.failures import failure_of, is_memory
from keepgain.trainers.methods import as_served, count_parameters, load_adapter
from keepgain.trainers.models import BaseCache, load_model, max_positions, numerics_of
from keepgain.trainers.reference import Prompting, prompting_of
from keepgain.trainers.run import CARD, PROGRESS, Run
from keepgain.trainers.scoring import SuiteResult, score_suite
from keepgain.trainers.suites import SuiteCache
from keepgain.trainers.tokens import Codec

log = logging.getLogger(__name__)
