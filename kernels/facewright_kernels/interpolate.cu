// Vertex attributes at the pixels of a raster.
#include "launch_target.h"

template <int kChannels>
__device__ void blend(const float* a0, const float* a1, const float* a2, float b0, float b1, float b2, int channels,
                      float* out) {
    const int count = kChannels ? kChannels : channels;
    for (int c = 0; c < count; ++c) out[c] = b0 * a0[c] + b1 * a1[c] + b2 * a2[c];
}

extern "C" __global__ void interpolate_pixels(const float* __restrict__ attributes, const int* __restrict__ triangles,
                                              const int* __restrict__ triangle_id,
                                              const float* __restrict__ barycentric, float* __restrict__ out,
                                              long long pixels, long long pixels_per_image, int shared_attributes,
                                              int vertex_count, int triangle_count, int channels) {
    FOR_EACH_INDEX(i, pixels) {
        const int triangle = triangle_id[i];
        float* pixel = out + i * channels;
        const int* corners = triangles + (long long)triangle * 3;
        if ((unsigned)triangle >= (unsigned)triangle_count || (unsigned)corners[0] >= (unsigned)vertex_count ||
            (unsigned)corners[1] >= (unsigned)vertex_count || (unsigned)corners[2] >= (unsigned)vertex_count) {
            for (int c = 0; c < channels; ++c) pixel[c] = 0.0f;
            continue;
        }
        const float* image = attributes + (shared_attributes ? 0 : i / pixels_per_image * vertex_count * channels);
        const float* a0 = image + (long long)corners[0] * channels;
        const float* a1 = image + (long long)corners[1] * channels;
        const float* a2 = image + (long long)corners[2] * channels;
        const float b0 = barycentric[2 * i], b1 = barycentric[2 * i + 1], b2 = 1.0f - b0 - b1;
        switch (channels) {
            case 1: blend<1>(a0, a1, a2, b0, b1, b2, 1, pixel); break;
            case 2: blend<2>(a0, a1, a2, b0, b1, b2, 2, pixel); break;
            case 3: blend<3>(a0, a1, a2, b0, b1, b2, 3, pixel); break;
            case 4: blend<4>(a0, a1, a2, b0, b1, b2, 4, pixel); break;
            default: blend<0>(a0, a1, a2, b0, b1, b2, channels, pixel);
        }
    }
}

// Derivatives along x and y (per pixel) of the interpolated attributes: the quotient rule on the homogeneous edge functions
// of rasterize.cu, so foreshortening is accounted for.
extern "C" __global__ void attribute_derivatives(const float* __restrict__ attributes,
                                                 const int* __restrict__ triangles,
                                                 const float* __restrict__ clip_positions,
                                                 const int* __restrict__ position_triangles,
                                                 const int* __restrict__ triangle_id, float* __restrict__ out,
                                                 int batch, int height, int width, int shared_attributes,
                                                 int vertex_count, int position_count, int triangle_count,
                                                 int channels) {
    const float to_ndc_x = 2.0f / width, to_ndc_y = 2.0f / height;
    FOR_EACH_INDEX(i, (long long)batch * height * width) {
        const int triangle = triangle_id[i];
        float* pixel = out + i * channels * 2;
        for (int c = 0; c < 2 * channels; ++c) pixel[c] = 0.0f;
        if ((unsigned)triangle >= (unsigned)triangle_count) continue;
        const long long image = i / ((long long)height * width);
        const int row = (int)(i / width - image * height), column = (int)(i % width);
        const int* corners = triangles + (long long)triangle * 3;
        const int* places = position_triangles + (long long)triangle * 3;
        bool known = true;
        for (int k = 0; k < 3; ++k)
            known = known && (unsigned)corners[k] < (unsigned)vertex_count &&
                    (unsigned)places[k] < (unsigned)position_count;
        if (!known) continue;
        float plane_x[3], plane_y[3], plane_1[3];  // homogeneous edge functions a_k = x plane_x + y plane_y + plane_1
        for (int k = 0; k < 3; ++k) {
            const float* p = clip_positions + (image * position_count + places[(k + 1) % 3]) * 4;
            const float* q = clip_positions + (image * position_count + places[(k + 2) % 3]) * 4;
            plane_x[k] = p[1] * q[3] - p[3] * q[1];
            plane_y[k] = p[3] * q[0] - p[0] * q[3];
            plane_1[k] = p[0] * q[1] - p[1] * q[0];
        }
        const float x = ((float)column + 0.5f) * to_ndc_x - 1.0f, y = ((float)row + 0.5f) * to_ndc_y - 1.0f;
        float sum = 0.0f, sum_x = 0.0f, sum_y = 0.0f, area[3];
        for (int k = 0; k < 3; ++k) {
            area[k] = x * plane_x[k] + y * plane_y[k] + plane_1[k];
            sum += area[k];
            sum_x += plane_x[k];
            sum_y += plane_y[k];
        }
        if (sum == 0.0f) continue;
        const float inverse = 1.0f / sum;
        for (int k = 0; k < 3; ++k) {
            const float weight = area[k] * inverse;
            const float along_x = (plane_x[k] - weight * sum_x) * inverse * to_ndc_x;
            const float along_y = (plane_y[k] - weight * sum_y) * inverse * to_ndc_y;
            const float* a =
                attributes + ((shared_attributes ? 0 : image * vertex_count) + (long long)corners[k]) * channels;
            for (int c = 0; c < channels; ++c) {
                pixel[2 * c] += along_x * a[c];
                pixel[2 * c + 1] += along_y * a[c];
            }
        }
    }
}
