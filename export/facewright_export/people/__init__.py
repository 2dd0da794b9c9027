"""Synthetic people with exact truth, to train and to measure on."""

from facewright_export.people.cameras import Framing, View
from facewright_export.people.people_generator import PeopleBatch, PeopleGenerator
from facewright_export.people.person import Person
from facewright_export.people.truth import Lamp, Light, PersonTruth

__all__ = ["Framing", "Lamp", "Light", "PeopleBatch", "PeopleGenerator", "Person", "PersonTruth", "View"]
