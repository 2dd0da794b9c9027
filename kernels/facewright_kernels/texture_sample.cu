// Bilinear and trilinear texture lookups. Texel centres lie at +0.5 (CONVENTIONS.md, UV).
#include "bilinear.h"
#include "vertex_sums.h"

__device__ bool is_readable(float u, float v) { return fabsf(u) < 1e6f && fabsf(v) < 1e6f; }

__device__ Axis address(float coordinate, int size, int wrap) {
    const float at = coordinate * (float)size - 0.5f;
    return wrap ? wrapped_axis(at, size) : clamped_axis(at, size);
}

// kChannels: the number of channels where it is known to the compiler, so that sums stay in registers; else 0.
template <int kChannels, typename Texel>
__device__ void add_bilinear(const Texel* image, const float* decoded, int height, int width, int channels, int wrap,
                             float u, float v, float weight, float* sum) {
    const int count = kChannels ? kChannels : channels;
    const Taps t = taps(address(u, width, wrap), address(v, height, wrap), width, count, weight);
    for (int c = 0; c < count; ++c) sum[c] += blend(image + c, decoded, t);
}

// The texture's layout and how it is read: the same for every lookup of a call.
struct Texture {
    int shared, height, width, channels, wrap;
};

template <int kChannels, typename Texel>
__device__ void sample_channels(const Texel* texels, const float* decoded, const float* uv, float* out,
                                long long samples, long long samples_per_image, Texture texture) {
    const int channels = kChannels ? kChannels : texture.channels;
    const long long stride = (long long)texture.height * texture.width * channels;
    FOR_EACH_INDEX(i, samples) {
        const float u = uv[2 * i], v = uv[2 * i + 1];
        const bool finite = is_readable(u, v);
        float registers[kChannels ? kChannels : 1];
        float* sum = kChannels ? registers : out + i * channels;
        for (int c = 0; c < channels; ++c) sum[c] = finite ? 0.0f : not_a_number();
        if (finite)
            add_bilinear<kChannels>(texels + (texture.shared ? 0 : i / samples_per_image * stride), decoded,
                                    texture.height, texture.width, channels, texture.wrap, u, v, 1.0f, sum);
        for (int c = 0; c < kChannels; ++c) out[i * channels + c] = registers[c];
    }
}

template <typename Texel>
__device__ void sample(const Texel* texels, const float* decoded, const float* uv, float* out, long long samples,
                       long long samples_per_image, Texture texture) {
    switch (texture.channels) {
        case 1: sample_channels<1>(texels, decoded, uv, out, samples, samples_per_image, texture); break;
        case 3: sample_channels<3>(texels, decoded, uv, out, samples, samples_per_image, texture); break;
        case 4: sample_channels<4>(texels, decoded, uv, out, samples, samples_per_image, texture); break;
        default: sample_channels<0>(texels, decoded, uv, out, samples, samples_per_image, texture);
    }
}

extern "C" __global__ void sample_float(const float* __restrict__ texture, const float* __restrict__ uv,
                                        float* __restrict__ out, long long samples, long long samples_per_image,
                                        int shared_texture, int height, int width, int channels, int wrap) {
    sample(texture, (const float*)nullptr, uv, out, samples, samples_per_image,
           Texture{shared_texture, height, width, channels, wrap});
}

extern "C" __global__ void sample_half(const unsigned short* __restrict__ texture, const float* __restrict__ uv,
                                       float* __restrict__ out, long long samples, long long samples_per_image,
                                       int shared_texture, int height, int width, int channels, int wrap) {
    sample((const Half*)texture, (const float*)nullptr, uv, out, samples, samples_per_image,
           Texture{shared_texture, height, width, channels, wrap});
}

extern "C" __global__ void sample_bfloat16(const unsigned short* __restrict__ texture, const float* __restrict__ uv,
                                           float* __restrict__ out, long long samples, long long samples_per_image,
                                           int shared_texture, int height, int width, int channels, int wrap) {
    sample((const Bfloat16*)texture, (const float*)nullptr, uv, out, samples, samples_per_image,
           Texture{shared_texture, height, width, channels, wrap});
}

extern "C" __global__ void sample_bytes(const unsigned char* __restrict__ texture, const float* __restrict__ decoded,
                                        const float* __restrict__ uv, float* __restrict__ out, long long samples,
                                        long long samples_per_image, int shared_texture, int height, int width,
                                        int channels, int wrap) {
    sample(texture, decoded, uv, out, samples, samples_per_image,
           Texture{shared_texture, height, width, channels, wrap});
}

// One mip level from the level above it: the mean of 2 x 2 texels (2 x 1 or 1 x 2 where a side is already 1).
extern "C" __global__ void halve_level(const float* __restrict__ texels, float* __restrict__ half, int batch,
                                       int height, int width, int channels, long long texels_stride,
                                       long long half_stride) {
    const int half_height = height > 1 ? height / 2 : 1, half_width = width > 1 ? width / 2 : 1;
    const int step_y = height > 1 ? 1 : 0, step_x = width > 1 ? 1 : 0;
    FOR_EACH_PIXEL(half_row, column, (long long)batch * half_height, half_width) {
        const long long image = half_row / half_height, row = half_row - image * half_height;
        const float* top = texels + image * texels_stride + ((row << step_y) * width + (column << step_x)) * channels;
        const float* bottom = top + (long long)step_y * width * channels;
        float* out = half + image * half_stride + (row * half_width + column) * channels;
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

template <int kChannels>
__device__ void sample_levels(const float* pyramid, const float* uv, const float* level, const float* derivatives,
                              float* out, long long samples, long long samples_per_image, long long pyramid_stride,
                              int levels, Texture texture) {
    const int channels = kChannels ? kChannels : texture.channels;
    FOR_EACH_INDEX(i, samples) {
        const float u = uv[2 * i], v = uv[2 * i + 1];
        const Level at = level_of(level, derivatives, i, texture.height, texture.width, levels);
        const bool finite = is_readable(u, v) && at.known;
        float registers[kChannels ? kChannels : 1];
        float* sum = kChannels ? registers : out + i * channels;
        for (int c = 0; c < channels; ++c) sum[c] = finite ? 0.0f : not_a_number();
        const float* texels = pyramid + (texture.shared ? 0 : i / samples_per_image * pyramid_stride);
        int height = texture.height, width = texture.width;
        for (int k = 0; finite && k <= at.first + 1 && k < levels; ++k) {
            const float weight = k == at.first ? 1.0f - at.fraction : k == at.first + 1 ? at.fraction : 0.0f;
            if (weight > 0.0f)
                add_bilinear<kChannels>(texels, (const float*)nullptr, height, width, channels, texture.wrap, u, v,
                                        weight, sum);
            texels += (long long)height * width * channels;
            height = height > 1 ? height / 2 : 1;
            width = width > 1 ? width / 2 : 1;
        }
        for (int c = 0; c < kChannels; ++c) out[i * channels + c] = registers[c];
    }
}

extern "C" __global__ void sample_mipmap(const float* __restrict__ pyramid, const float* __restrict__ uv,
                                         const float* __restrict__ level, const float* __restrict__ derivatives,
                                         float* __restrict__ out, long long samples, long long samples_per_image,
                                         int shared_texture, long long pyramid_stride, int height, int width,
                                         int channels, int levels, int wrap) {
    const Texture texture = {shared_texture, height, width, channels, wrap};
    if (channels == 3)
        sample_levels<3>(pyramid, uv, level, derivatives, out, samples, samples_per_image, pyramid_stride, levels,
                         texture);
    else
        sample_levels<0>(pyramid, uv, level, derivatives, out, samples, samples_per_image, pyramid_stride, levels,
                         texture);
}

// Fixed-point sums of one texture (vertex_sums.h).
struct Sums {
    unsigned long long* values;
    double scale;  // 0 where a gradient of this texture is not finite: its sums are not read then
};

__device__ Sums sums_of(unsigned long long* sums, long long start, int magnitude, int headroom) {
    const int exponent_field = magnitude >> 23;
    return {sums + start, exponent_field == kNotFinite ? 0.0 : fixed_point_scale(exponent_field, headroom)};
}

struct Slope {
    float u, v;
};

// Adds a sample's gradient to the four texels it read; returns its gradient with respect to u and v.
template <int kChannels, typename Texel>
__device__ Slope bilinear_vjp(const Texel* image, const float* grad, int height, int width, int channels, int wrap,
                              float u, float v, float weight, Sums sums) {
    const int count = kChannels ? kChannels : channels;
    const Axis x = address(u, width, wrap), y = address(v, height, wrap);
    const Taps t = taps(x, y, width, count, weight);
    const float* no_table = nullptr;  // bytes have no gradient
    float along_x = 0.0f, along_y = 0.0f;
    for (int c = 0; c < count; ++c) {
        const float g = grad[c];
        if (g == 0.0f) continue;  // most of a render's pixels show no surface
        const Texel* texel = image + c;
        const float t00 = decode(texel[t.at00], no_table), t01 = decode(texel[t.at01], no_table);
        const float t10 = decode(texel[t.at10], no_table), t11 = decode(texel[t.at11], no_table);
        along_x += g * ((1.0f - y.fraction) * (t01 - t00) + y.fraction * (t11 - t10));
        along_y += g * ((1.0f - x.fraction) * (t10 - t00) + x.fraction * (t11 - t01));
        if (sums.scale == 0.0) continue;
        atomic_add(&sums.values[t.at00 + c], llrint((double)(t.w00 * g) * sums.scale));
        atomic_add(&sums.values[t.at01 + c], llrint((double)(t.w01 * g) * sums.scale));
        atomic_add(&sums.values[t.at10 + c], llrint((double)(t.w10 * g) * sums.scale));
        atomic_add(&sums.values[t.at11 + c], llrint((double)(t.w11 * g) * sums.scale));
    }
    return {x.moves ? weight * along_x * (float)width : 0.0f, y.moves ? weight * along_y * (float)height : 0.0f};
}

template <int kChannels, typename Texel>
__device__ void sample_vjp_channels(const Texel* texels, const float* uv, const float* grad, const int* magnitudes,
                                    unsigned long long* sums, float* grad_uv, long long samples,
                                    long long samples_per_image, Texture texture, int headroom) {
    const int channels = kChannels ? kChannels : texture.channels;
    FOR_EACH_INDEX(i, samples) {
        const float u = uv[2 * i], v = uv[2 * i + 1];
        const long long image = texture.shared ? 0 : i / samples_per_image;
        const long long start = image * texture.height * texture.width * channels;
        Slope slope = {not_a_number(), not_a_number()};
        if (is_readable(u, v))
            slope = bilinear_vjp<kChannels>(texels + start, grad + i * channels, texture.height, texture.width,
                                            channels, texture.wrap, u, v, 1.0f,
                                            sums_of(sums, start, magnitudes[image], headroom));
        grad_uv[2 * i] = slope.u;
        grad_uv[2 * i + 1] = slope.v;
    }
}

template <typename Texel>
__device__ void sample_vjp(const Texel* texels, const float* uv, const float* grad, const int* magnitudes,
                           unsigned long long* sums, float* grad_uv, long long samples, long long samples_per_image,
                           Texture texture, int headroom) {
    if (texture.channels == 3)
        sample_vjp_channels<3>(texels, uv, grad, magnitudes, sums, grad_uv, samples, samples_per_image, texture,
                               headroom);
    else
        sample_vjp_channels<0>(texels, uv, grad, magnitudes, sums, grad_uv, samples, samples_per_image, texture,
                               headroom);
}

extern "C" __global__ void sample_float_vjp(const float* __restrict__ texture, const float* __restrict__ uv,
                                            const float* __restrict__ grad, const int* __restrict__ magnitudes,
                                            unsigned long long* __restrict__ sums, float* __restrict__ grad_uv,
                                            long long samples, long long samples_per_image, int shared_texture,
                                            int height, int width, int channels, int wrap, int headroom) {
    sample_vjp(texture, uv, grad, magnitudes, sums, grad_uv, samples, samples_per_image,
               Texture{shared_texture, height, width, channels, wrap}, headroom);
}

extern "C" __global__ void sample_half_vjp(const unsigned short* __restrict__ texture, const float* __restrict__ uv,
                                           const float* __restrict__ grad, const int* __restrict__ magnitudes,
                                           unsigned long long* __restrict__ sums, float* __restrict__ grad_uv,
                                           long long samples, long long samples_per_image, int shared_texture,
                                           int height, int width, int channels, int wrap, int headroom) {
    sample_vjp((const Half*)texture, uv, grad, magnitudes, sums, grad_uv, samples, samples_per_image,
               Texture{shared_texture, height, width, channels, wrap}, headroom);
}

extern "C" __global__ void sample_bfloat16_vjp(const unsigned short* __restrict__ texture,
                                               const float* __restrict__ uv, const float* __restrict__ grad,
                                               const int* __restrict__ magnitudes,
                                               unsigned long long* __restrict__ sums, float* __restrict__ grad_uv,
                                               long long samples, long long samples_per_image, int shared_texture,
                                               int height, int width, int channels, int wrap, int headroom) {
    sample_vjp((const Bfloat16*)texture, uv, grad, magnitudes, sums, grad_uv, samples, samples_per_image,
               Texture{shared_texture, height, width, channels, wrap}, headroom);
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
        const bool finite = is_readable(u, v) && at.known;
        Slope slope = {finite ? 0.0f : not_a_number(), finite ? 0.0f : not_a_number()};
        const long long image = shared_texture ? 0 : i / samples_per_image;
        long long start = image * pyramid_stride;
        int level_height = height, level_width = width;
        for (int k = 0; finite && k <= at.first + 1 && k < levels; ++k) {
            const float weight = k == at.first ? 1.0f - at.fraction : k == at.first + 1 ? at.fraction : 0.0f;
            if (weight > 0.0f) {
                const Slope one =
                    bilinear_vjp<0>(pyramid + start, grad + i * channels, level_height, level_width, channels, wrap, u,
                                    v, weight, sums_of(sums, start, magnitudes[image], headroom));
                slope = {slope.u + one.u, slope.v + one.v};
            }
            start += (long long)level_height * level_width * channels;
            level_height = level_height > 1 ? level_height / 2 : 1;
            level_width = level_width > 1 ? level_width / 2 : 1;
        }
        grad_uv[2 * i] = slope.u;
        grad_uv[2 * i + 1] = slope.v;
    }
}

// Transpose of halve_level, in place: every texel receives its share of the gradient of the level below it.
extern "C" __global__ void add_level_below(const float* __restrict__ grad_half, float* __restrict__ grad_texels,
                                           int batch, int height, int width, int channels, long long half_stride,
                                           long long texels_stride) {
    const int half_width = width > 1 ? width / 2 : 1;
    const int shift_y = height > 1 ? 1 : 0, shift_x = width > 1 ? 1 : 0;
    const float share = (shift_y ? 0.5f : 1.0f) * (shift_x ? 0.5f : 1.0f);
    FOR_EACH_PIXEL(texel_row, column, (long long)batch * height, width) {
        const long long image = texel_row / height, row = texel_row - image * height;
        const float* below =
            grad_half + image * half_stride + ((row >> shift_y) * half_width + (column >> shift_x)) * channels;
        float* out = grad_texels + image * texels_stride + (row * width + column) * channels;
        for (int c = 0; c < channels; ++c) out[c] += share * below[c];
    }
}
