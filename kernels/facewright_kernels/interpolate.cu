// Vertex attributes at the pixels of a raster.
#include "mesh.h"
#include "vertex_sums.h"

template <int kChannels>
__device__ void blend(const float* a0, const float* a1, const float* a2, float b0, float b1, float b2, int channels,
                      float* out) {
    const int count = kChannels ? kChannels : channels;
    for (int c = 0; c < count; ++c) out[c] = b0 * a0[c] + b1 * a1[c] + b2 * a2[c];
}

// One pixel of the result, from pixel `at` of the raster and its image's attributes.
__device__ void interpolate_pixel(const float* attributes, const int* triangles, const int* triangle_id,
                                  const float* barycentric, long long at, int vertex_count, int triangle_count,
                                  int channels, float* pixel) {
    const int* corners = corners_of(triangles, triangle_id[at], triangle_count, vertex_count);
    if (!corners) {
        for (int c = 0; c < channels; ++c) pixel[c] = 0.0f;
        return;
    }
    const float* a0 = attributes + (long long)corners[0] * channels;
    const float* a1 = attributes + (long long)corners[1] * channels;
    const float* a2 = attributes + (long long)corners[2] * channels;
    const float b0 = barycentric[2 * at], b1 = barycentric[2 * at + 1], b2 = 1.0f - b0 - b1;
    switch (channels) {
        case 1: blend<1>(a0, a1, a2, b0, b1, b2, 1, pixel); break;
        case 2: blend<2>(a0, a1, a2, b0, b1, b2, 2, pixel); break;
        case 3: blend<3>(a0, a1, a2, b0, b1, b2, 3, pixel); break;
        case 4: blend<4>(a0, a1, a2, b0, b1, b2, 4, pixel); break;
        default: blend<0>(a0, a1, a2, b0, b1, b2, channels, pixel);
    }
}

extern "C" __global__ void interpolate_pixels(const float* __restrict__ attributes, const int* __restrict__ triangles,
                                              const int* __restrict__ triangle_id,
                                              const float* __restrict__ barycentric, float* __restrict__ out,
                                              long long pixels, long long pixels_per_image, int shared_attributes,
                                              int shared_raster, int vertex_count, int triangle_count, int channels) {
    if (shared_attributes) {  // without a division for every pixel
        FOR_EACH_INDEX(i, pixels)
        interpolate_pixel(attributes, triangles, triangle_id, barycentric, i, vertex_count, triangle_count, channels,
                          out + i * channels);
        return;
    }
    FOR_EACH_INDEX(i, pixels) {
        const long long image = i / pixels_per_image;
        interpolate_pixel(attributes + image * vertex_count * channels, triangles, triangle_id, barycentric,
                          shared_raster ? i - image * pixels_per_image : i, vertex_count, triangle_count, channels,
                          out + i * channels);
    }
}

// First pass of the VJP: barycentrics are at most 1, so a vertex's terms are at most the gradient at its pixels. `copies`
// images share each row of the raster.
extern "C" __global__ void interpolate_vjp_measure(const float* __restrict__ grad, const int* __restrict__ triangles,
                                                   const int* __restrict__ triangle_id, int* magnitudes,
                                                   long long rows, int height, int width, int segment, int copies,
                                                   int shared_attributes, int vertex_count, int triangle_count,
                                                   int channels) {
    for_each_run(triangle_id, rows, width, segment, [&](int triangle, long long row, int first, int length) {
        if (!corners_of(triangles, triangle, triangle_count, vertex_count)) return;
        for (int copy = 0; copy < copies; ++copy) {
            const long long image_row = row + (long long)copy * height;
            const float* values = grad + (image_row * width + first) * channels;
            int largest = 0;
            for (int k = 0; k < length * channels; ++k) {
                const int bits = magnitude_bits(values[k]);
                largest = bits > largest ? bits : largest;
            }
            int* image = magnitudes + (shared_attributes ? 0 : image_row / height * vertex_count);
            for (int k = 0; k < 3; ++k) atomic_maximum(&image[triangles[(long long)triangle * 3 + k]], largest);
        }
    });
}

// One run, some of its channels: the corners' sums of weight times gradient, and per pixel the gradient of the two
// barycentrics (added to what earlier channels left there).
template <int kCount>
__device__ void run_vjp(const float* const* corners, const float* grad, const float* barycentric,
                        float* grad_barycentric, int length, int channels, bool is_first, float sums[3][4]) {
    float edge0[kCount], edge1[kCount], sum0[kCount] = {}, sum1[kCount] = {}, sum2[kCount] = {};
    for (int c = 0; c < kCount; ++c) {
        edge0[c] = corners[0][c] - corners[2][c];
        edge1[c] = corners[1][c] - corners[2][c];
    }
    for (int x = 0; x < length; ++x) {
        const float b0 = barycentric[2 * x], b1 = barycentric[2 * x + 1], b2 = 1.0f - b0 - b1;
        float to0 = is_first ? 0.0f : grad_barycentric[2 * x], to1 = is_first ? 0.0f : grad_barycentric[2 * x + 1];
        for (int c = 0; c < kCount; ++c) {
            const float g = grad[(long long)x * channels + c];
            sum0[c] += b0 * g;
            sum1[c] += b1 * g;
            sum2[c] += b2 * g;
            to0 += edge0[c] * g;
            to1 += edge1[c] * g;
        }
        grad_barycentric[2 * x] = to0;
        grad_barycentric[2 * x + 1] = to1;
    }
    for (int c = 0; c < kCount; ++c) {
        sums[0][c] = sum0[c];
        sums[1][c] = sum1[c];
        sums[2][c] = sum2[c];
    }
}

extern "C" __global__ void interpolate_vjp_add(const float* __restrict__ attributes, const int* __restrict__ triangles,
                                               const int* __restrict__ triangle_id,
                                               const float* __restrict__ barycentric, const float* __restrict__ grad,
                                               int* magnitudes, unsigned long long* sums,
                                               float* __restrict__ grad_barycentric, long long rows, int height,
                                               int width, int segment, int copies, int shared_attributes,
                                               int vertex_count, int triangle_count, int channels, int headroom) {
    const VertexSums target = {magnitudes, sums, channels, headroom};
    for_each_run(triangle_id, rows, width, segment, [&](int triangle, long long row, int first, int length) {
        const int* corners = corners_of(triangles, triangle, triangle_count, vertex_count);
        const float* weights = barycentric + 2 * (row * width + first);
        for (int copy = 0; copy < copies; ++copy) {
            const long long image_row = row + (long long)copy * height, pixel = image_row * width + first;
            float* to = grad_barycentric + 2 * pixel;
            if (!corners || channels == 0) {
                for (int k = 0; k < 2 * length; ++k) to[k] = 0.0f;
                continue;
            }
            const long long image = shared_attributes ? 0 : image_row / height * vertex_count;
            for (int c = 0; c < channels; c += 4) {
                const float* values[3];
                for (int k = 0; k < 3; ++k) values[k] = attributes + (image + corners[k]) * channels + c;
                const float* from = grad + pixel * channels + c;
                float run[3][4];
                const int count = channels - c < 4 ? channels - c : 4;
                switch (count) {
                    case 1: run_vjp<1>(values, from, weights, to, length, channels, c == 0, run); break;
                    case 2: run_vjp<2>(values, from, weights, to, length, channels, c == 0, run); break;
                    case 3: run_vjp<3>(values, from, weights, to, length, channels, c == 0, run); break;
                    default: run_vjp<4>(values, from, weights, to, length, channels, c == 0, run);
                }
                for (int k = 0; k < 3; ++k) add_to_vertex(target, image + corners[k], c, run[k], count);
            }
        }
    });
}
