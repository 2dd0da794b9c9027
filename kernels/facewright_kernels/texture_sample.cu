// Bilinear and trilinear texture lookups. Texel centres lie at +0.5 (CONVENTIONS.md, UV).
#include "vertex_sums.h"

__device__ float decode(float texel, const float* decoded) {
    (void)decoded;
    return texel;
}
__device__ float decode(unsigned char texel, const float* decoded) { return decoded[texel]; }
__device__ float decode(unsigned short texel, const float* decoded) {
    (void)decoded;
    return float_of_half(texel);
}

__device__ float not_a_number() { return __uint_as_float(0x7fc00000u); }

__device__ bool is_readable(float u, float v) { return fabsf(u) < 1e6f && fabsf(v) < 1e6f; }

struct Axis {
    int low, high;   // texels left and right of (or above and below) a coordinate
    float fraction;  // between them
    float slope;     // texels per unit of the coordinate; 0 where it is clamped to the border
};

__device__ Axis address(float coordinate, int size, int wrap) {
    float texel = coordinate * (float)size - 0.5f;
    const bool inside = wrap || (texel >= 0.0f && texel <= (float)(size - 1));
    if (!wrap) texel = minimum(maximum(texel, 0.0f), (float)(size - 1));
    const float base = floorf(texel);
    long long first = (long long)base;
    int low, high;
    if (wrap) {
        first %= size;
        if (first < 0) first += size;
        low = (int)first;
        high = first + 1 == size ? 0 : (int)first + 1;
    } else {
        low = (int)first;
        high = first + 1 < size ? (int)first + 1 : (int)first;
    }
    return {low, high, texel - base, inside ? (float)size : 0.0f};
}

template <typename Texel>
__device__ void add_bilinear(const Texel* image, const float* decoded, int height, int width, int channels, int wrap,
                             float u, float v, float weight, float* out) {
    const Axis x = address(u, width, wrap), y = address(v, height, wrap);
    const Texel* t00 = image + ((long long)y.low * width + x.low) * channels;
    const Texel* t01 = image + ((long long)y.low * width + x.high) * channels;
    const Texel* t10 = image + ((long long)y.high * width + x.low) * channels;
    const Texel* t11 = image + ((long long)y.high * width + x.high) * channels;
    const float w00 = weight * (1.0f - x.fraction) * (1.0f - y.fraction), w01 = weight * x.fraction * (1.0f - y.fraction);
    const float w10 = weight * (1.0f - x.fraction) * y.fraction, w11 = weight * x.fraction * y.fraction;
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
        const bool finite = is_readable(u, v);
        for (int c = 0; c < channels; ++c) out[i * channels + c] = finite ? 0.0f : not_a_number();
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

extern "C" __global__ void sample_half(const unsigned short* __restrict__ texture, const float* __restrict__ uv,
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

// The finer of the two levels that a lookup blends, and the weight of the coarser.
struct Level {
    int first;
    float fraction;
    bool known;
};

__device__ Level level_of(const float* level, const float* derivatives, long long sample, int height, int width,
                          int levels) {
    const float lod = level ? level[sample] : footprint_level(derivatives + 4 * sample, height, width);
    const float clamped = minimum(maximum(lod, 0.0f), (float)(levels - 1));
    const int first = (int)clamped;
    return {first, clamped - (float)first, lod == lod};
}

extern "C" __global__ void sample_mipmap(const float* __restrict__ pyramid, const float* __restrict__ uv,
                                         const float* __restrict__ level, const float* __restrict__ derivatives,
                                         float* __restrict__ out, long long samples, long long samples_per_image,
                                         int shared_texture, long long pyramid_stride, int height, int width,
                                         int channels, int levels, int wrap) {
    FOR_EACH_INDEX(i, samples) {
        const float u = uv[2 * i], v = uv[2 * i + 1];
        const Level at = level_of(level, derivatives, i, height, width, levels);
        const bool finite = is_readable(u, v) && at.known;
        for (int c = 0; c < channels; ++c) out[i * channels + c] = finite ? 0.0f : not_a_number();
        if (!finite) continue;
        const float* texels = pyramid + (shared_texture ? 0 : i / samples_per_image * pyramid_stride);
        int level_height = height, level_width = width;
        for (int k = 0; k <= at.first + 1 && k < levels; ++k) {
            const float weight = k == at.first ? 1.0f - at.fraction : k == at.first + 1 ? at.fraction : 0.0f;
            if (weight > 0.0f)
                add_bilinear(texels, (const float*)nullptr, level_height, level_width, channels, wrap, u, v, weight,
                             out + i * channels);
            texels += (long long)level_height * level_width * channels;
            level_height = level_height > 1 ? level_height / 2 : 1;
            level_width = level_width > 1 ? level_width / 2 : 1;
        }
    }
}

// Adds a sample's gradient to the four texels it read, and gives its gradient with respect to u and v.
template <typename Texel>
__device__ void bilinear_vjp(const Texel* image, const float* grad, int height, int width, int channels, int wrap,
                             float u, float v, float weight, double scale, unsigned long long* sums, float* grad_u,
                             float* grad_v) {
    const Axis x = address(u, width, wrap), y = address(v, height, wrap);
    const long long at00 = ((long long)y.low * width + x.low) * channels, at01 = ((long long)y.low * width + x.high) * channels;
    const long long at10 = ((long long)y.high * width + x.low) * channels, at11 = ((long long)y.high * width + x.high) * channels;
    const float fx = x.fraction, fy = y.fraction;
    const float w00 = weight * (1.0f - fx) * (1.0f - fy), w01 = weight * fx * (1.0f - fy);
    const float w10 = weight * (1.0f - fx) * fy, w11 = weight * fx * fy;
    float along_x = 0.0f, along_y = 0.0f;
    for (int c = 0; c < channels; ++c) {
        const float g = grad[c];
        if (g == 0.0f) continue;  // most of a render's pixels show no surface
        const float t00 = decode(image[at00 + c], (const float*)nullptr), t01 = decode(image[at01 + c], (const float*)nullptr);
        const float t10 = decode(image[at10 + c], (const float*)nullptr), t11 = decode(image[at11 + c], (const float*)nullptr);
        along_x += g * ((1.0f - fy) * (t01 - t00) + fy * (t11 - t10));
        along_y += g * ((1.0f - fx) * (t10 - t00) + fx * (t11 - t01));
        if (scale == 0.0) continue;
        atomic_add(&sums[at00 + c], llrint((double)(w00 * g) * scale));
        atomic_add(&sums[at01 + c], llrint((double)(w01 * g) * scale));
        atomic_add(&sums[at10 + c], llrint((double)(w10 * g) * scale));
        atomic_add(&sums[at11 + c], llrint((double)(w11 * g) * scale));
    }
    *grad_u += weight * along_x * x.slope;
    *grad_v += weight * along_y * y.slope;
}

// 0 where a gradient of this texture is not finite: its sums are not read then.
__device__ double sum_scale(int magnitude, int headroom) {
    return magnitude >> 23 == kNotFinite ? 0.0 : fixed_point_scale(magnitude >> 23, headroom);
}

template <typename Texel>
__device__ void sample_vjp(const Texel* texture, const float* uv, const float* grad, const int* magnitudes,
                           unsigned long long* sums, float* grad_uv, long long samples, long long samples_per_image,
                           int shared_texture, int height, int width, int channels, int wrap, int headroom) {
    FOR_EACH_INDEX(i, samples) {
        const float u = uv[2 * i], v = uv[2 * i + 1];
        const long long image = shared_texture ? 0 : i / samples_per_image;
        const long long start = image * height * width * channels;
        float grad_u = 0.0f, grad_v = 0.0f;
        if (is_readable(u, v))
            bilinear_vjp(texture + start, grad + i * channels, height, width, channels, wrap, u, v, 1.0f,
                         sum_scale(magnitudes[image], headroom), sums + start, &grad_u, &grad_v);
        else
            grad_u = grad_v = not_a_number();
        grad_uv[2 * i] = grad_u;
        grad_uv[2 * i + 1] = grad_v;
    }
}

extern "C" __global__ void sample_float_vjp(const float* __restrict__ texture, const float* __restrict__ uv,
                                            const float* __restrict__ grad, const int* __restrict__ magnitudes,
                                            unsigned long long* __restrict__ sums, float* __restrict__ grad_uv,
                                            long long samples, long long samples_per_image, int shared_texture,
                                            int height, int width, int channels, int wrap, int headroom) {
    sample_vjp(texture, uv, grad, magnitudes, sums, grad_uv, samples, samples_per_image, shared_texture, height, width,
               channels, wrap, headroom);
}

extern "C" __global__ void sample_half_vjp(const unsigned short* __restrict__ texture, const float* __restrict__ uv,
                                           const float* __restrict__ grad, const int* __restrict__ magnitudes,
                                           unsigned long long* __restrict__ sums, float* __restrict__ grad_uv,
                                           long long samples, long long samples_per_image, int shared_texture,
                                           int height, int width, int channels, int wrap, int headroom) {
    sample_vjp(texture, uv, grad, magnitudes, sums, grad_uv, samples, samples_per_image, shared_texture, height, width,
               channels, wrap, headroom);
}

extern "C" __global__ void sample_mipmap_vjp(const float* __restrict__ pyramid, const float* __restrict__ uv,
                                             const float* __restrict__ level, const float* __restrict__ derivatives,
                                             const float* __restrict__ grad, const int* __restrict__ magnitudes,
                                             unsigned long long* __restrict__ sums, float* __restrict__ grad_uv,
                                             long long samples, long long samples_per_image, int shared_texture,
                                             long long pyramid_stride, int height, int width, int channels, int levels,
                                             int wrap, int headroom) {
    FOR_EACH_INDEX(i, samples) {
        const float u = uv[2 * i], v = uv[2 * i + 1];
        const Level at = level_of(level, derivatives, i, height, width, levels);
        float grad_u = 0.0f, grad_v = 0.0f;
        if (is_readable(u, v) && at.known) {
            const long long image = shared_texture ? 0 : i / samples_per_image;
            const double scale = sum_scale(magnitudes[image], headroom);
            long long start = image * pyramid_stride;
            int level_height = height, level_width = width;
            for (int k = 0; k <= at.first + 1 && k < levels; ++k) {
                const float weight = k == at.first ? 1.0f - at.fraction : k == at.first + 1 ? at.fraction : 0.0f;
                if (weight > 0.0f)
                    bilinear_vjp(pyramid + start, grad + i * channels, level_height, level_width, channels, wrap, u, v,
                                 weight, scale, sums + start, &grad_u, &grad_v);
                start += (long long)level_height * level_width * channels;
                level_height = level_height > 1 ? level_height / 2 : 1;
                level_width = level_width > 1 ? level_width / 2 : 1;
            }
        } else {
            grad_u = grad_v = not_a_number();
        }
        grad_uv[2 * i] = grad_u;
        grad_uv[2 * i + 1] = grad_v;
    }
}

// Transpose of halve_level, in place: every texel receives its share of the gradient of the level below it.
extern "C" __global__ void add_level_below(const float* __restrict__ grad_half, float* __restrict__ grad_texels,
                                           int batch, int height, int width, int channels, long long half_stride,
                                           long long texels_stride) {
    const int half_width = width > 1 ? width / 2 : 1;
    const int shift_y = height > 1 ? 1 : 0, shift_x = width > 1 ? 1 : 0;
    const float share = (shift_y ? 0.5f : 1.0f) * (shift_x ? 0.5f : 1.0f);
    FOR_EACH_INDEX(i, (long long)batch * height * width) {
        const long long image = i / ((long long)height * width);
        const long long within = i - image * height * width;
        const int row = (int)(within / width), column = (int)(within % width);
        const float* below = grad_half + image * half_stride +
                             ((long long)(row >> shift_y) * half_width + (column >> shift_x)) * channels;
        float* out = grad_texels + image * texels_stride + within * channels;
        for (int c = 0; c < channels; ++c) out[c] += share * below[c];
    }
}
