"""What leaves: meshes, morph targets, visemes, the glTF writer, the packager, the report."""
