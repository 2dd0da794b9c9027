"""The camera regressor of the "normalized" pipeline: a photo to the head's pose and the focal length.

Luo et al., "Normalized Avatar Synthesis Using StyleGAN and Perceptual Refinement", section 3.3: a ResNet-50
estimates the camera c = [tx, ty, tz, rx, ry, rz, f].
"""

from facewright_export.networks.resnet import RESNET50_BLOCKS, ResNet

#: What the seven outputs are, in the paper's order. The paper gives no units: here the translation is in
#: metres, the rotation an axis-angle vector in radians (both head to camera space), the focal length in
#: image sides.
CAMERA_PARAMETERS = (
    "translation_x",
    "translation_y",
    "translation_z",
    "rotation_x",
    "rotation_y",
    "rotation_z",
    "focal_length",
)


class CameraRegressor(ResNet):
    """image f32 [B, 3, 224, 224], RGB, ImageNet-normalised → camera f32 [B, 7] (`CAMERA_PARAMETERS`).

    The parameters carry torchvision's names (`conv1.weight` … `fc.bias`).
    """

    def __init__(self) -> None:
        super().__init__(RESNET50_BLOCKS, outputs=len(CAMERA_PARAMETERS))
