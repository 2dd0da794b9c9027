"""The correspondence of another model's head with the open head: ``<model>_to_open.npz``.

Built on the owner's machine from the owner's files by ``facewright export correspondence``; read by
`facewright.head.correspondence`.
"""
