"""The network ``face_shape``: from the landmarks of one face to what is expected of its shape and expression.

It is trained on synthetic people alone (`facewright_export.people`); its weights travel with the code.
"""
