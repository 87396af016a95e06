"""Pictures that are no data set: files, folders and arrays that somebody wants predictions of."""

from secateur.data.photos.photos import SUFFIXES, Photos, find_photos, normalised

__all__ = ["SUFFIXES", "Photos", "find_photos", "normalised"]
