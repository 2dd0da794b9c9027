"""CODE: what an avatar was made of, without the photo. Biometric data; docs/avatar_code.md."""
