// Bilinear and trilinear texture lookups. Texel centres lie at +0.5 (CONVENTIONS.md, UV).
#include "launch_target.h"

__device__ float decode(float texel, const float* decoded) {
    (void)decoded;
    return texel;
}
__device__ float decode(unsigned char texel, const float* decoded) { return decoded[texel]; }

// Texel left of (or above) a coordinate, its neighbour, and the fraction between them.
__device__ void address(float coordinate, int size, int wrap, int* low, int* high, float* fraction) {
    if (!(fabsf(coordinate) < 1e6f)) coordinate = 0.0f;  // NaN and infinity: the caller writes NaN
    float texel = coordinate * (float)size - 0.5f;
    if (!wrap) texel = minimum(maximum(texel, 0.0f), (float)(size - 1));
    float base = floorf(texel);
    *fraction = texel - base;
    long long first = (long long)base;
    if (wrap) {
        first %= size;
        if (first < 0) first += size;
        *low = (int)first;
        *high = first + 1 == size ? 0 : (int)first + 1;
    } else {
        *low = (int)first;
        *high = first + 1 < size ? (int)first + 1 : (int)first;
    }
}

template <typename Texel>
__device__ void add_bilinear(const Texel* image, const float* decoded, int height, int width, int channels, int wrap,
                             float u, float v, float weight, float* out) {
    int x0, x1, y0, y1;
    float fx, fy;
    address(u, width, wrap, &x0, &x1, &fx);
    address(v, height, wrap, &y0, &y1, &fy);
    const Texel* t00 = image + ((long long)y0 * width + x0) * channels;
    const Texel* t01 = image + ((long long)y0 * width + x1) * channels;
    const Texel* t10 = image + ((long long)y1 * width + x0) * channels;
    const Texel* t11 = image + ((long long)y1 * width + x1) * channels;
    const float w00 = weight * (1.0f - fx) * (1.0f - fy), w01 = weight * fx * (1.0f - fy);
    const float w10 = weight * (1.0f - fx) * fy, w11 = weight * fx * fy;
    for (int c = 0; c < channels; ++c)
        out[c] += w00 * decode(t00[c], decoded) + w01 * decode(t01[c], decoded) + w10 * decode(t10[c], decoded) +
                  w11 * decode(t11[c], decoded);
}

template <typename Texel>
__device__ void sample(const Texel* texture, const float* decoded, const float* uv, float* out, long long samples,
                       long long samples_per_image, int shared_texture, int height, int width, int channels, int wrap) {
    FOR_EACH_INDEX(i, samples) {
        const float u = uv[2 * i], v = uv[2 * i + 1];
        const Texel* image =
            texture + (shared_texture ? 0 : i / samples_per_image * height * width * channels);
        const bool finite = fabsf(u) < 1e6f && fabsf(v) < 1e6f;
        for (int c = 0; c < channels; ++c) out[i * channels + c] = finite ? 0.0f : __uint_as_float(0x7fc00000u);
        if (finite)
            add_bilinear(image, decoded, height, width, channels, wrap, u, v, 1.0f, out + i * channels);
    }
}

extern "C" __global__ void sample_float(const float* __restrict__ texture, const float* __restrict__ uv,
                                        float* __restrict__ out, long long samples, long long samples_per_image,
                                        int shared_texture, int height, int width, int channels, int wrap) {
    sample(texture, (const float*)nullptr, uv, out, samples, samples_per_image, shared_texture, height, width, channels,
           wrap);
}

extern "C" __global__ void sample_bytes(const unsigned char* __restrict__ texture, const float* __restrict__ decoded,
                                        const float* __restrict__ uv, float* __restrict__ out, long long samples,
                                        long long samples_per_image, int shared_texture, int height, int width,
                                        int channels, int wrap) {
    sample(texture, decoded, uv, out, samples, samples_per_image, shared_texture, height, width, channels, wrap);
}

// One mip level from the level above it: the mean of 2 x 2 texels (2 x 1 or 1 x 2 where a side is already 1).
extern "C" __global__ void halve_level(const float* __restrict__ texels, float* __restrict__ half, int batch,
                                       int height, int width, int channels, long long texels_stride,
                                       long long half_stride) {
    const int half_height = height > 1 ? height / 2 : 1, half_width = width > 1 ? width / 2 : 1;
    const int step_y = height > 1 ? 1 : 0, step_x = width > 1 ? 1 : 0;
    FOR_EACH_INDEX(i, (long long)batch * half_height * half_width) {
        const long long image = i / ((long long)half_height * half_width);
        const long long within = i - image * half_height * half_width;
        const int row = (int)(within / half_width), column = (int)(within % half_width);
        const float* top = texels + image * texels_stride +
                           ((long long)(row << step_y) * width + (column << step_x)) * channels;
        const float* bottom = top + (long long)step_y * width * channels;
        float* out = half + image * half_stride + within * channels;
        for (int c = 0; c < channels; ++c)
            out[c] = 0.25f * (top[c] + top[step_x * channels + c] + bottom[c] + bottom[step_x * channels + c]);
    }
}

// Level of detail: log2 of the longer axis of the pixel's footprint in texels (OpenGL 4.6 core, eq. 8.7 without anisotropy).
__device__ float footprint_level(const float* derivatives, int height, int width) {
    const float ux = derivatives[0] * width, uy = derivatives[1] * width;
    const float vx = derivatives[2] * height, vy = derivatives[3] * height;
    const float longest = maximum(ux * ux + vx * vx, uy * uy + vy * vy);
    return longest > 1e-12f ? 0.5f * log2f(longest) : 0.0f;
}

extern "C" __global__ void sample_mipmap(const float* __restrict__ pyramid, const float* __restrict__ uv,
                                         const float* __restrict__ level, const float* __restrict__ derivatives,
                                         float* __restrict__ out, long long samples, long long samples_per_image,
                                         int shared_texture, long long pyramid_stride, int height, int width,
                                         int channels, int levels, int wrap) {
    FOR_EACH_INDEX(i, samples) {
        const float u = uv[2 * i], v = uv[2 * i + 1];
        float lod = level ? level[i] : footprint_level(derivatives + 4 * i, height, width);
        const bool finite = fabsf(u) < 1e6f && fabsf(v) < 1e6f && lod == lod;
        for (int c = 0; c < channels; ++c) out[i * channels + c] = finite ? 0.0f : __uint_as_float(0x7fc00000u);
        if (!finite) continue;
        lod = minimum(maximum(lod, 0.0f), (float)(levels - 1));
        const int first = (int)lod;
        const float fraction = lod - (float)first;
        const float* texels = pyramid + (shared_texture ? 0 : i / samples_per_image * pyramid_stride);
        int level_height = height, level_width = width;
        for (int k = 0; k <= first + 1 && k < levels; ++k) {
            const float weight = k == first ? 1.0f - fraction : k == first + 1 ? fraction : 0.0f;
            if (weight > 0.0f)
                add_bilinear(texels, (const float*)nullptr, level_height, level_width, channels, wrap, u, v, weight,
                             out + i * channels);
            texels += (long long)level_height * level_width * channels;
            level_height = level_height > 1 ? level_height / 2 : 1;
            level_width = level_width > 1 ? level_width / 2 : 1;
        }
    }
}
