// Bilinear texture lookups. Texel centres lie at +0.5 (CONVENTIONS.md, UV).
#include "bilinear.h"
#include "vertex_sums.h"

__device__ bool is_readable(float u, float v) { return fabsf(u) < 1e6f && fabsf(v) < 1e6f; }

__device__ Axis address(float coordinate, int size, int wrap) {
    const float at = coordinate * (float)size - 0.5f;
    return wrap ? wrapped_axis(at, size) : clamped_axis(at, size);
}

// The texture's layout and how it is read: the same for every lookup of a call.
struct Texture {
    int shared, height, width, channels, wrap;
};

// kChannels: the number of channels where it is known to the compiler, else 0.
template <int kChannels, typename Texel>
__device__ void sample_channels(const Texel* texels, const float* decoded, const float* uv, float* out,
                                long long samples, long long samples_per_image, Texture texture) {
    const int channels = kChannels ? kChannels : texture.channels;
    const long long stride = (long long)texture.height * texture.width * channels;
    FOR_EACH_INDEX(i, samples) {
        const float u = uv[2 * i], v = uv[2 * i + 1];
        float* looked_up = out + i * channels;
        if (!is_readable(u, v)) {
            for (int c = 0; c < channels; ++c) looked_up[c] = not_a_number();
            continue;
        }
        const Texel* image = texels + (texture.shared ? 0 : i / samples_per_image * stride);
        const Taps t = taps(address(u, texture.width, texture.wrap), address(v, texture.height, texture.wrap),
                            texture.width, channels);
        for (int c = 0; c < channels; ++c) looked_up[c] = blend(image + c, decoded, t);
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
                              float u, float v, Sums sums) {
    const int count = kChannels ? kChannels : channels;
    const Axis x = address(u, width, wrap), y = address(v, height, wrap);
    const Taps t = taps(x, y, width, count);
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
    return {x.moves ? along_x * (float)width : 0.0f, y.moves ? along_y * (float)height : 0.0f};
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
                                            channels, texture.wrap, u, v,
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
