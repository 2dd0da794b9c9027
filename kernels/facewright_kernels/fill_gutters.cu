// Texels outside the charts take the colour of the nearest texel inside.
#include "launch_target.h"

template <typename Texel>
__device__ void gather(const Texel* texture, const int* nearest, Texel* out, long long texels, long long per_image,
                       int channels) {
    FOR_EACH_INDEX(i, texels) {
        const long long image = i / per_image;
        const long long from = image * per_image + nearest[i - image * per_image];
        for (int c = 0; c < channels; ++c) out[i * channels + c] = texture[from * channels + c];
    }
}

extern "C" __global__ void gather_floats(const float* __restrict__ texture, const int* __restrict__ nearest,
                                         float* __restrict__ out, long long texels, long long per_image,
                                         int channels) {
    gather(texture, nearest, out, texels, per_image, channels);
}

extern "C" __global__ void gather_bytes(const unsigned char* __restrict__ texture, const int* __restrict__ nearest,
                                        unsigned char* __restrict__ out, long long texels, long long per_image,
                                        int channels) {
    gather(texture, nearest, out, texels, per_image, channels);
}
