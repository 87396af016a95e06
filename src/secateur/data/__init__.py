"""Data sets, one function each."""

from collections.abc import Callable, Mapping

from torch.utils.data import Dataset

from secateur.data.augment import Sample
from secateur.data.captions.captions import captions, captions_frames
from secateur.data.captions.stories import stories, stories_frames
from secateur.data.celebamask.celebamask import celebamask, celebamask_frames
from secateur.data.cityscapes import cityscapes, cityscapes_frames
from secateur.data.data import Data
from secateur.data.dense import dense_data, squared_errors
from secateur.data.domains.domains import domains, domains_frames
from secateur.data.hf_images import hf_images, hf_images_frames
from secateur.data.making import Loading
from secateur.data.nyuv2.nyuv2 import nyuv2, nyuv2_frames
from secateur.data.pictures import legend, picture_kind, picture_of
from secateur.data.rooms.rooms import rooms, rooms_frames
from secateur.data.splitting import TooFewError
from secateur.data.taskonomy import taskonomy, taskonomy_frames

FRAMES: dict[str, Callable[..., Mapping[str, Dataset[Sample]]]] = {
    "captions": captions_frames,
    "celebamask": celebamask_frames,
    "cityscapes": cityscapes_frames,
    "domains": domains_frames,
    "hf_images": hf_images_frames,
    "nyuv2": nyuv2_frames,
    "rooms": rooms_frames,
    "stories": stories_frames,
    "taskonomy": taskonomy_frames,
}
"""Name of a data set to its samples in ``train``, ``val`` and ``test``, decoded when asked for; each takes those
arguments of the function of that name that decide what is read."""

__all__ = [
    "FRAMES",
    "Data",
    "Loading",
    "Sample",
    "TooFewError",
    "captions",
    "celebamask",
    "cityscapes",
    "dense_data",
    "domains",
    "hf_images",
    "legend",
    "nyuv2",
    "picture_kind",
    "picture_of",
    "rooms",
    "squared_errors",
    "stories",
    "taskonomy",
]
